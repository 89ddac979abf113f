"""Reads run ahead in threads, in bounded number; results and errors keep their order; threads end."""

import threading
import time
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm3.storage.read_ahead import read_ahead


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


@settings(max_examples=25)
@given(st.lists(st.integers(0, 3), max_size=25), st.integers(1, 6))
def test_results_keep_their_order_whatever_reads_take(delays_ms: list[int], depth: int) -> None:
    def read(number: int, delay_ms: int) -> int:
        time.sleep(delay_ms / 1000)
        return number

    reads = [lambda n=n, d=d: read(n, d) for n, d in enumerate(delays_ms)]
    assert list(read_ahead(reads, depth)) == list(range(len(delays_ms)))
    assert threads() == []


def test_latency_is_hidden_behind_other_reads_and_work() -> None:
    reads = [lambda: time.sleep(0.1)] * 16
    started_s = time.monotonic()
    assert len(list(read_ahead(reads, 8))) == 16
    assert time.monotonic() - started_s < 16 * 0.1 / 2


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_depth_results_are_held(depth: int) -> None:
    begun: list[int] = []
    reads = (lambda n=n: begun.append(n) or n for n in range(100))
    with closing(read_ahead(reads, depth)) as results:
        for taken in range(1, 20):
            next(results)
            time.sleep(0.002)
            assert len(begun) <= taken + depth


def test_nothing_is_read_before_it_is_asked_for() -> None:
    begun: list[int] = []
    results = read_ahead((lambda n=n: begun.append(n) for n in range(3)), 2)
    assert begun == [] and threads() == []
    next(results)
    assert begun
    results.close()


def test_an_error_comes_in_its_place_and_ends_the_threads() -> None:
    def fail() -> int:
        raise OSError("the third")

    results = read_ahead([lambda: 1, lambda: 2, fail, lambda: 4], 4)
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(OSError, match="the third"):
        next(results)
    assert threads() == []
    assert list(results) == []


def test_closing_drops_what_has_not_started_and_ends_the_threads() -> None:
    begun: list[int] = []

    def read(number: int) -> int:
        begun.append(number)
        time.sleep(0.05)
        return number

    results = read_ahead((lambda n=n: read(n) for n in range(1000)), 4)
    assert next(results) == 0
    results.close()
    count = len(begun)
    assert threads() == [] and count <= 5
    time.sleep(0.1)
    assert len(begun) == count


@pytest.mark.parametrize("depth", [0, -1])
def test_a_depth_below_one_is_refused_at_once(depth: int) -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        read_ahead([], depth)
