"""Attempts, pauses and the end of patience, with operations that fail as they are told; time does not pass."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vlm3.storage.test_failures import answer
from vlm3 import backoff
from vlm3.errors import DataError
from vlm3.storage import retrying
from vlm3.storage.counters import storage_use
from vlm3.storage.failures import Reason, StorageError
from vlm3.storage.limiter import AdaptiveLimit


class Clock:
    """Time that passes when someone sleeps."""

    def __init__(self) -> None:
        self.now_s, self.pauses_s = 1000.0, []

    def monotonic(self) -> float:
        """Now."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.pauses_s.append(seconds)
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    tell_time_by(clock, monkeypatch)
    return clock


def tell_time_by(clock: Clock, patch: pytest.MonkeyPatch) -> None:
    for module in (backoff, retrying):
        patch.setattr(module, "time", clock)


def failing(*errors: Exception, lasting_s: float = 0.0, clock: Clock | None = None):
    """An operation that raises these in turn, then returns "done"."""
    left: Iterator[Exception] = iter(errors)

    def operation() -> str:
        if clock is not None:
            clock.now_s += lasting_s
        if (error := next(left, None)) is not None:
            raise error
        return "done"

    return operation


def send(operation, limit: AdaptiveLimit | None = None) -> str:
    return retrying.send(operation, "s3://b/x", "http://s", limit or AdaptiveLimit("s3://b"))


def test_attempts_end_with_what_was_tried(clock: Clock) -> None:
    errors = [answer(503, "SlowDown")] * 5 + [ConnectionResetError()] * 3
    before = storage_use()
    with pytest.raises(StorageError, match=r"given up after 8 attempts in \d+ s: 5 x slow down, 3 x connection"):
        send(failing(*errors))
    used = storage_use().since(before)
    assert used.requests == 8 and len(clock.pauses_s) == 7
    assert used.retries == {Reason.SLOW_DOWN: 5, Reason.CONNECTION: 2}, "the last one was not made again"
    assert used.backoff_s == pytest.approx(sum(clock.pauses_s))


def test_seven_failures_and_a_success_are_no_error(clock: Clock) -> None:
    assert send(failing(*[TimeoutError()] * 7)) == "done"


@pytest.mark.parametrize("error", [answer(403, "AccessDenied"), answer(404, "NoSuchKey"), answer(416, "InvalidRange")])
def test_what_stays_is_not_tried_again(clock: Clock, error: Exception) -> None:
    before = storage_use()
    with pytest.raises((StorageError, DataError)):
        send(failing(error))
    assert storage_use().since(before).requests == 1 and clock.pauses_s == []


@given(st.integers(0, 2**32))
def test_pauses_are_uniform_below_a_ceiling_that_doubles(seed: int) -> None:
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        tell_time_by(clock, patch)
        backoff._jitter.seed(seed)
        send(failing(*[ConnectionResetError()] * 7))
    ceilings_s = [retrying.FIRST_PAUSE_S * 2**k for k in range(7)]
    assert all(0 <= pause_s <= ceiling_s for pause_s, ceiling_s in zip(clock.pauses_s, ceilings_s, strict=True))


def test_pauses_differ_from_one_process_to_the_next(clock: Clock) -> None:
    for _ in range(2):
        send(failing(*[ConnectionResetError()] * 7))
    assert len(set(clock.pauses_s)) == 14


def test_the_stores_own_wish_is_the_shortest_pause(clock: Clock) -> None:
    send(failing(answer(503, "SlowDown", **{"retry-after": "9"})))
    assert clock.pauses_s == [9.0]


def test_a_wish_beyond_the_deadline_ends_it_at_once(clock: Clock) -> None:
    with pytest.raises(StorageError, match="given up after 1 attempts"):
        send(failing(answer(503, "SlowDown", **{"retry-after": "3600"})))
    assert clock.pauses_s == []


def test_no_attempt_starts_after_the_deadline(clock: Clock) -> None:
    slow = failing(*[TimeoutError()] * 8, lasting_s=50, clock=clock)
    with pytest.raises(StorageError, match=r"given up after 4 attempts in 20\d s: 4 x timeout"):
        send(slow)


def test_only_refusals_lower_the_limit_and_successes_raise_it(clock: Clock) -> None:
    limit = AdaptiveLimit("s3://b", start=8)
    send(failing(ConnectionResetError(), answer(500, "InternalError"), TimeoutError()), limit)
    assert limit.limit == 8
    send(failing(answer(503, "SlowDown")), limit)
    assert limit.limit == 4
    for _ in range(20):
        send(failing(), limit)
    assert limit.limit > 5


def test_a_bug_is_not_retried(clock: Clock) -> None:
    with pytest.raises(KeyError):
        send(failing(KeyError("bug")))
    assert clock.pauses_s == []
