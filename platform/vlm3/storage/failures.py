"""What went wrong at a store: whether another attempt may help, and messages that say what to do.

S3's libraries are imported only after a failure, so that a process that reads a local folder does not load them.
"""

import errno
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import cache
from time import time
from typing import Any

from vlm3.errors import DataError, UserError


class StorageError(UserError):
    """The store does not answer or refuses: nothing is wrong with the data, and the run can be resumed.

    Not a DataError, so that code that handles bad content never mistakes a failing store for it.
    """


class ShortBodyError(OSError):
    """An answer held fewer bytes than were asked for, although the object is long enough."""


class Reason(StrEnum):
    """Why an attempt is made again."""

    SLOW_DOWN = "slow_down"
    """503 or 429: the store asks for fewer requests."""
    SERVER_ERROR = "server_error"
    """500, 502, 504, or a device that is busy."""
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    """Refused, reset, or closed before an answer."""
    BROKEN_BODY = "broken_body"
    """Fewer bytes than announced or asked for, or bytes that the store received damaged."""


_STATUS = {429: Reason.SLOW_DOWN, 503: Reason.SLOW_DOWN, 408: Reason.TIMEOUT} | dict.fromkeys(
    (500, 502, 504), Reason.SERVER_ERROR
)
_CODE = {
    "SlowDown": Reason.SLOW_DOWN,
    "InternalError": Reason.SERVER_ERROR,
    "OperationAborted": Reason.SERVER_ERROR,
    "RequestTimeout": Reason.TIMEOUT,
    "BadDigest": Reason.BROKEN_BODY,
    "IncompleteBody": Reason.BROKEN_BODY,
    "XAmzContentSHA256Mismatch": Reason.BROKEN_BODY,
}
_BUSY = {errno.EBUSY, errno.EINTR, errno.EAGAIN}


def is_store_failure(error: Exception) -> bool:
    """Whether an error came from a store: s3fs turns S3's answers into OSError and lets connection errors through."""
    if isinstance(error, OSError):
        return True
    return isinstance(error, _library_errors())


@cache
def _library_errors() -> tuple[type[Exception], ...]:
    import aiohttp
    from botocore.exceptions import BotoCoreError
    from botocore.parsers import ResponseParserError

    return BotoCoreError, aiohttp.ClientError, ResponseParserError


@cache
def _transient_types() -> tuple[tuple[Reason, tuple[type[Exception], ...]], ...]:
    """Error types of each reason, in the order of the tests: a read timeout is a connection error as well."""
    import aiohttp
    import botocore.exceptions as boto
    from botocore.parsers import ResponseParserError

    broken = (aiohttp.ClientPayloadError, boto.IncompleteReadError, boto.ResponseStreamingError, ResponseParserError)
    return (
        (Reason.TIMEOUT, (TimeoutError, boto.ConnectTimeoutError, boto.ReadTimeoutError)),
        (Reason.BROKEN_BODY, (ShortBodyError, *broken)),
        (Reason.CONNECTION, (ConnectionError, aiohttp.ClientError, boto.HTTPClientError, boto.ConnectionError)),
    )


def transient_reason(error: Exception) -> Reason | None:
    """Why trying again may help; None where it cannot: 403, 404, a full disk, missing credentials."""
    if (answer := _answer(error)) is not None:
        by_status = _STATUS.get(answer.get("ResponseMetadata", {}).get("HTTPStatusCode"))
        return by_status or _CODE.get(_code(error))
    if isinstance(error, FileNotFoundError):
        return None
    for reason, types in _transient_types():
        if isinstance(error, types):
            return reason
    return Reason.SERVER_ERROR if isinstance(error, OSError) and error.errno in _BUSY else None


def retry_after_s(error: Exception) -> float:
    """Seconds the store asks to wait (its Retry-After, a number or a date); 0 where it does not say."""
    headers = (_answer(error) or {}).get("ResponseMetadata", {}).get("HTTPHeaders", {})
    text = str(headers.get("retry-after", "0"))
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except ValueError:
        return 0.0


def explain(error: Exception, where: str, endpoint: str | None, tried: str = "") -> UserError:
    """The error to show the user for a failure at `where`.

    Args:
        error: a failure of a store.
        where: URI of the file.
        endpoint: S3 endpoint in use, None for Amazon's or a local folder.
        tried: what was done before giving up, for the end of the message.
    """
    end = f" ({tried})" if tried else ""
    if not where.startswith("s3://"):
        if isinstance(error, FileNotFoundError):
            return DataError(f"{where}: no such file")
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        return StorageError(f"{where}: {reason}{end}")
    store = endpoint or "Amazon S3"
    if isinstance(error, FileNotFoundError):
        return DataError(f"{where}: {_missing(_code(error), where, store)}")
    if _code(error) in ("InvalidRange", "416"):
        return DataError(f"{where}: the object ends before the bytes asked for: file is truncated")
    return StorageError(f"{where}: {_refusal(error, store)}{end}")


def _missing(code: str, where: str, store: str) -> str:
    bucket, _, key = where.removeprefix("s3://").partition("/")
    if code == "NoSuchBucket" or not key:
        return f"no bucket {bucket!r} at {store}; create it, or correct the URI"
    return f"no such object at {store}"


def _refusal(error: Exception, store: str) -> str:
    import botocore.exceptions as boto

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


def _answer(error: Exception) -> dict[str, Any] | None:
    """S3's answer behind an error; None where no answer caused it."""
    for candidate in (error, error.__cause__):
        response = getattr(candidate, "response", None)
        if isinstance(response, dict):
            return response
    return None


def _code(error: Exception) -> str:
    """S3's error code; "" where no answer of S3 caused the error."""
    return str((_answer(error) or {}).get("Error", {}).get("Code", ""))
