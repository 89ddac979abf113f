"""The limit halves on refusal, once a burst, and grows by one a round of successes, between 1 and its bound."""

import threading
import time

from hypothesis import given
from hypothesis import strategies as st

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


def test_no_more_requests_than_the_limit_are_in_flight_and_all_get_their_turn() -> None:
    limit, lock = AdaptiveLimit("memory://turns", start=3, most=3), threading.Lock()
    now, most, waits = 0, 0, []

    def work() -> None:
        nonlocal now, most
        with limit.place() as waited_s:
            with lock:
                now += 1
                most = max(most, now)
                waits.append(waited_s)
            time.sleep(0.02)
            with lock:
                now -= 1

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == 3 and len(waits) == 12
    assert max(waits) >= 0.04, "the last ones waited for two others at least"


def test_a_place_is_given_back_when_the_request_fails() -> None:
    limit = AdaptiveLimit("memory://fails", start=1)
    for _ in range(3):
        try:
            with limit.place():
                raise OSError
        except OSError:
            continue
    with limit.place() as waited_s:
        assert waited_s < 1


def test_threads_of_a_process_share_the_limit_of_a_prefix_and_other_prefixes_have_their_own() -> None:
    first = limit_of("s3://bucket/a", None)
    assert limit_of("s3://bucket/a", None) is first
    assert limit_of("s3://bucket/b", None) is not first
    assert limit_of("s3://bucket/a", "http://127.0.0.1:9") is not first
    assert START_IN_FLIGHT <= MOST_IN_FLIGHT
    assert first.limit == START_IN_FLIGHT
