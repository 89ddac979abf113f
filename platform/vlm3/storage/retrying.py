"""One request to a store, repeated until it succeeds: limited in number, counted, and given up in bounded time."""

import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from vlm3.backoff import Backoff
from vlm3.log import get_logger
from vlm3.storage.counters import COUNTERS
from vlm3.storage.failures import Reason, explain, is_store_failure, retry_after_s, transient_reason
from vlm3.storage.limiter import AdaptiveLimit

log = get_logger(__name__)
ResultT = TypeVar("ResultT")

ATTEMPTS = 8
FIRST_PAUSE_S = 0.2
DEADLINE_S = 180.0
"""No attempt starts later than this after the first one."""


def send(operation: Callable[[], ResultT], where: str, endpoint: str | None, limit: AdaptiveLimit) -> ResultT:
    """Run `operation` until it succeeds, with pauses (`Backoff`) no shorter than the store's Retry-After.

    Args:
        operation: makes one request; `is_store_failure` must know the errors that it raises when the store fails.
        where: URI of the file, for messages.
        endpoint: S3 endpoint in use, None for Amazon's or a local folder.
        limit: limit of the requests in flight at this prefix.

    Raises:
        DataError: the file or bucket is missing.
        StorageError: the store refuses, or still fails after `ATTEMPTS` attempts or `DEADLINE_S`.
    """
    failures: Counter[Reason] = Counter()
    backoff = Backoff(FIRST_PAUSE_S, attempts=ATTEMPTS, deadline_s=DEADLINE_S)
    while True:
        try:
            return _attempt(operation, limit)
        except Exception as error:
            if not is_store_failure(error):
                raise
            reason = transient_reason(error)
            if reason is None:
                raise explain(error, where, endpoint) from error
            failures[reason] += 1
            pause_s = backoff.pause_s(retry_after_s(error))
            if pause_s is None:
                raise explain(error, where, endpoint, _tried(failures, backoff.spent_s)) from error
            log.warning("%s: %s; trying again in %.1f s", where, error or type(error).__name__, pause_s)
            COUNTERS.add_retry(reason, pause_s)
        time.sleep(pause_s)


def _attempt(operation: Callable[[], ResultT], limit: AdaptiveLimit) -> ResultT:
    with limit.place() as waited_s:
        COUNTERS.add_request(waited_s)
        sent_s = time.monotonic()
        try:
            result = operation()
        except Exception as error:
            if is_store_failure(error) and transient_reason(error) is Reason.SLOW_DOWN:
                limit.refused(sent_s)
            raise
        limit.succeeded()
        return result


def _tried(failures: Counter[Reason], spent_s: float) -> str:
    kinds = ", ".join(f"{count} x {reason.value.replace('_', ' ')}" for reason, count in failures.most_common())
    return f"given up after {failures.total()} attempts in {spent_s:.0f} s: {kinds}"
