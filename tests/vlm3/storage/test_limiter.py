"""The limit halves on refusal, once a burst, and grows by one a round of successes, between 1 and its bound."""

import threading
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.storage import limiter
from vlm3.storage.counters import storage_use
from vlm3.storage.limiter import MOST_IN_FLIGHT, START_IN_FLIGHT, AdaptiveLimit, limit_of


@given(st.lists(st.booleans(), max_size=300), st.integers(1, 16))
def test_the_limit_stays_between_one_and_its_bound(answers: list[bool], start: int) -> None:
    limit = AdaptiveLimit("memory://bounds", start, most=16)
    for good in answers:
        before = limit.limit
        limit.succeeded() if good else limit.refused(time.monotonic())
        assert 1 <= limit.limit <= 16
        assert limit.limit - before in (0, 1) if good else before // 2 <= limit.limit <= before
        assert storage_use().limits["memory://bounds"] == limit.limit


def test_a_round_of_successes_adds_about_one() -> None:
    limit = AdaptiveLimit("memory://grows", start=4, most=64)
    for _ in range(5):
        limit.succeeded()
    assert limit.limit == 5
    for _ in range(10_000):
        limit.succeeded()
    assert limit.limit == 64


def test_refusals_of_requests_that_were_in_flight_together_halve_once() -> None:
    limit = AdaptiveLimit("memory://burst", start=16)
    sent_s = time.monotonic()
    for _ in range(10):
        limit.refused(sent_s)
    assert limit.limit == 8
    limit.refused(time.monotonic())
    assert limit.limit == 4


class Finished:
    """A clock that counts requests that have ended, and sees how often it is asked."""

    def __init__(self, readings: int) -> None:
        self.ended, self.left = 0, readings
        self.all_read, self.lock = threading.Event(), threading.Lock()

    def monotonic(self) -> float:
        """Requests that have ended."""
        with self.lock:
            self.left -= 1
            if self.left == 0:
                self.all_read.set()
            return float(self.ended)


def test_no_more_requests_than_the_limit_are_in_flight_and_all_get_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    limit, lock = AdaptiveLimit("memory://turns", start=3, most=3), threading.Lock()
    # Twelve ask, and three get in at once: only then may the first of them end.
    clock, together = Finished(readings=12 + 3), threading.Barrier(3)
    monkeypatch.setattr(limiter, "time", clock)
    now, most, waits = 0, 0, []

    def work() -> None:
        nonlocal now, most
        with limit.place() as waited:
            with lock:
                now += 1
                most = max(most, now)
                waits.append(waited)
            assert clock.all_read.wait(60)
            together.wait(60)
            with lock:
                now -= 1
            with clock.lock:
                clock.ended += 1

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == 3 and len(waits) == 12
    assert sorted(waits)[:3] == [0, 0, 0] and sorted(waits)[3] >= 1
    assert max(waits) >= 9, "the last one waited for all but those in flight with it"


def test_a_place_is_given_back_when_the_request_fails() -> None:
    limit, entered = AdaptiveLimit("memory://fails", start=1), threading.Event()

    def work() -> None:
        for _ in range(3):
            with suppress(OSError), limit.place():
                raise OSError
        with limit.place():
            entered.set()

    threading.Thread(target=work, daemon=True).start()
    assert entered.wait(60)


def test_threads_of_a_process_share_the_limit_of_a_prefix_and_other_prefixes_have_their_own() -> None:
    first = limit_of("s3://bucket/a", None)
    assert limit_of("s3://bucket/a", None) is first
    assert limit_of("s3://bucket/b", None) is not first
    assert limit_of("s3://bucket/a", "http://127.0.0.1:9") is not first
    assert START_IN_FLIGHT <= MOST_IN_FLIGHT
    assert first.limit == START_IN_FLIGHT
