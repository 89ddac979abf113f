"""What went wrong at a store, in words that say what to do."""

import errno

import aiohttp
import botocore.exceptions as boto  # type: ignore[import-untyped] # ships no types

from vlm3.errors import DataError

S3_FAILURES: tuple[type[Exception], ...] = (OSError, boto.BotoCoreError, aiohttp.ClientError)
"""Every failure of a store: s3fs turns S3's answers into OSError, and lets errors of the connection through."""
TRANSIENT = (
    boto.HTTPClientError,
    boto.ConnectionError,
    boto.IncompleteReadError,
    boto.ResponseStreamingError,
    aiohttp.ClientError,
    TimeoutError,
    ConnectionError,
)
TRANSIENT_ERRNO = {errno.EBUSY, getattr(errno, "EREMOTEIO", errno.EIO), errno.EINTR, errno.EAGAIN}
"""s3fs maps SlowDown and 503 to EBUSY, 500 to EREMOTEIO."""
TRANSIENT_CODES = {"BadDigest", "IncompleteBody", "InternalError", "RequestTimeout", "SlowDown", "ServiceUnavailable"}


class StorageError(DataError):
    """The store does not answer or refuses: nothing is wrong with the data, and the run can be resumed."""


def is_transient(error: Exception) -> bool:
    """Whether trying again may help."""
    return (
        isinstance(error, TRANSIENT)
        or (isinstance(error, OSError) and error.errno in TRANSIENT_ERRNO)
        or _code(error) in TRANSIENT_CODES
    )


def explain(error: Exception, where: str, endpoint: str | None) -> DataError:
    """The user's error for a failure at `where`.

    Args:
        error: one of `S3_FAILURES`.
        where: URI of the file.
        endpoint: S3 endpoint in use, None for Amazon's or a local folder.
    """
    if not where.startswith("s3://"):
        if isinstance(error, FileNotFoundError):
            return DataError(f"{where}: no such file")
        return StorageError(f"{where}: {error.strerror if isinstance(error, OSError) and error.strerror else error}")
    store = endpoint or "Amazon S3"
    if isinstance(error, FileNotFoundError):
        return DataError(f"{where}: {_missing(_code(error), where, store)}")
    return StorageError(f"{where}: {_refusal(error, store)}")


def _missing(code: str, where: str, store: str) -> str:
    bucket, _, key = where.removeprefix("s3://").partition("/")
    if code == "NoSuchBucket" or not key:
        return f"no bucket {bucket!r} at {store}; create it, or correct the URI"
    return f"no such object at {store}"


def _refusal(error: Exception, store: str) -> str:
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return "no S3 credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if isinstance(error, PermissionError):
        return (
            f"{store} refuses access ({_code(error) or error}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"
            " and the bucket's policy"
        )
    if isinstance(error, boto.EndpointConnectionError | boto.ConnectTimeoutError):
        return f"no answer from {store}; check that it runs, and the address in AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL"
    return f"{store} failed: {error}"


def _code(error: Exception) -> str:
    """S3's error code, "" where the failure is no answer of S3."""
    for candidate in (error, error.__cause__):
        response = getattr(candidate, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return ""
