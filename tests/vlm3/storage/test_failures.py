"""Which failures are worth another attempt, as what they count, and what the user is told."""

import errno
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import botocore.exceptions as boto
import pytest
from botocore.parsers import ResponseParserError
from s3fs.errors import translate_boto_error

from vlm3.errors import DataError, UserError
from vlm3.storage.failures import Reason, ShortBodyError, StorageError, explain, retry_after_s, transient_reason


def answer(status: int, code: str, **headers: str) -> Exception:
    """S3's answer as s3fs raises it."""
    response = {
        "Error": {"Code": code, "Message": "words of the server"},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
    }
    return translate_boto_error(boto.ClientError(response, "GetObject"))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (answer(503, "SlowDown"), Reason.SLOW_DOWN),
        (answer(503, "503"), Reason.SLOW_DOWN),
        (answer(429, "TooManyRequests"), Reason.SLOW_DOWN),
        (answer(400, "SlowDown"), Reason.SLOW_DOWN),
        (answer(500, "InternalError"), Reason.SERVER_ERROR),
        (answer(502, "502"), Reason.SERVER_ERROR),
        (answer(409, "OperationAborted"), Reason.SERVER_ERROR),
        (answer(400, "RequestTimeout"), Reason.TIMEOUT),
        (answer(400, "BadDigest"), Reason.BROKEN_BODY),
        (TimeoutError(), Reason.TIMEOUT),
        (boto.ReadTimeoutError(endpoint_url="x"), Reason.TIMEOUT),
        (boto.ConnectTimeoutError(endpoint_url="x"), Reason.TIMEOUT),
        (aiohttp.ServerTimeoutError(), Reason.TIMEOUT),
        (ConnectionResetError(), Reason.CONNECTION),
        (boto.EndpointConnectionError(endpoint_url="x"), Reason.CONNECTION),
        (boto.ConnectionClosedError(endpoint_url="x"), Reason.CONNECTION),
        (aiohttp.ServerDisconnectedError(), Reason.CONNECTION),
        (aiohttp.ClientPayloadError(), Reason.BROKEN_BODY),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), Reason.BROKEN_BODY),
        (ResponseParserError("half an XML"), Reason.BROKEN_BODY),
        (ShortBodyError("short"), Reason.BROKEN_BODY),
        (OSError(errno.EBUSY, "busy"), Reason.SERVER_ERROR),
        (answer(403, "AccessDenied"), None),
        (answer(403, "SignatureDoesNotMatch"), None),
        (answer(404, "NoSuchKey"), None),
        (answer(404, "404"), None),
        (answer(416, "InvalidRange"), None),
        (boto.NoCredentialsError(), None),
        (OSError(errno.ENOSPC, "no space left on device"), None),
        (PermissionError(errno.EACCES, "denied"), None),
        (FileNotFoundError(errno.ENOENT, "gone"), None),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value)[:50],
)
def test_what_may_pass_is_told_from_what_stays(error: Exception, reason: Reason | None) -> None:
    assert transient_reason(error) is reason


@pytest.mark.parametrize(("text", "seconds"), [("7", 7), ("0", 0), ("soon", 0), ("-3", 0), ("", 0)])
def test_retry_after_in_seconds(text: str, seconds: float) -> None:
    assert retry_after_s(answer(503, "SlowDown", **{"retry-after": text})) == seconds


def test_retry_after_as_a_date_and_where_there_is_none() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < retry_after_s(answer(503, "SlowDown", **{"retry-after": later})) <= 30
    earlier = format_datetime(datetime.now(UTC) - timedelta(seconds=30), usegmt=True)
    assert retry_after_s(answer(503, "SlowDown", **{"retry-after": earlier})) == 0
    assert retry_after_s(answer(503, "SlowDown")) == retry_after_s(ConnectionResetError()) == 0


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (answer(503, "SlowDown"), StorageError, r"http://s failed: .*words of the server \(given up\)"),
        (answer(403, "AccessDenied"), StorageError, r"refuses access \(AccessDenied\)"),
        (answer(404, "NoSuchKey"), DataError, "no such object at http://s"),
        (answer(404, "NoSuchBucket"), DataError, "no bucket 'b' at http://s; create it"),
        (answer(416, "InvalidRange"), DataError, "file is truncated"),
        (boto.EndpointConnectionError(endpoint_url="x"), StorageError, r"no answer from http://s.*\(given up\)"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), StorageError, "reset"),
    ],
)
def test_a_user_is_told_where_and_what_to_do(error: Exception, kind: type[UserError], words: str) -> None:
    told = explain(error, "s3://b/x", "http://s", "given up")
    assert type(told) is kind
    with pytest.raises(kind, match=rf"s3://b/x: .*{words}"):
        raise told


def test_a_local_failure_is_told_without_the_words_of_s3() -> None:
    assert str(explain(FileNotFoundError(errno.ENOENT, "x"), "/data/x", None)) == "/data/x: no such file"
    told = explain(OSError(errno.ENOSPC, "No space left on device"), "/data/x", None)
    assert str(told) == "/data/x: No space left on device" and isinstance(told, StorageError)


def test_a_failing_store_is_no_bad_data() -> None:
    assert issubclass(StorageError, UserError) and not issubclass(StorageError, DataError)
