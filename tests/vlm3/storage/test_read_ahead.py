"""Reads run ahead in threads, in bounded number; results and errors keep their order; threads end."""

import threading
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm3.storage.read_ahead import read_ahead

PATIENCE_S = 60
"""What is waited for comes at once, or never."""


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


@settings(max_examples=25)
@given(st.lists(st.booleans(), max_size=25), st.integers(1, 6))
def test_results_keep_their_order_whichever_reads_end_first(late: list[bool], depth: int) -> None:
    ended = [threading.Event() for _ in late]

    def read(number: int) -> int:
        # A late read ends after a punctual one behind it, which runs beside it where reads run ahead at all.
        if depth > 1 and late[number : number + 2] == [True, False]:
            assert ended[number + 1].wait(PATIENCE_S)
        ended[number].set()
        return number

    reads = [lambda n=n: read(n) for n in range(len(late))]
    assert list(read_ahead(reads, depth)) == list(range(len(late)))
    assert threads() == []


def test_latency_is_hidden_behind_other_reads() -> None:
    together = threading.Barrier(8)
    # Each ends when eight are in flight at the same time.
    assert len(list(read_ahead([lambda: together.wait(PATIENCE_S)] * 16, 8))) == 16


def test_latency_is_hidden_behind_the_callers_work() -> None:
    ended = [threading.Event() for _ in range(9)]
    with closing(read_ahead([event.set for event in ended], 8)) as results:
        next(results)
        # Nothing more is asked for: this is where the caller works.
        assert all(event.wait(PATIENCE_S) for event in ended)


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_depth_results_are_held(depth: int) -> None:
    drawn: list[int] = []
    reads = (lambda n=n: n for n in range(100) if drawn.append(n) is None)
    with closing(read_ahead(reads, depth)) as results:
        for taken in range(1, 20):
            next(results)
            assert len(drawn) == taken + depth, "a read is drawn before it begins"


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


def test_closing_waits_for_what_runs_drops_the_rest_and_ends_the_threads() -> None:
    begun: list[int] = []
    ended: list[int] = []
    running, closing_soon = threading.Event(), threading.Event()

    def read(number: int) -> int:
        begun.append(number)
        if number:
            running.set()
            assert closing_soon.wait(PATIENCE_S)
        ended.append(number)
        return number

    results = read_ahead((lambda n=n: read(n) for n in range(1000)), 4)
    assert next(results) == 0 and running.wait(PATIENCE_S)
    threading.Timer(0.05, closing_soon.set).start()
    results.close()
    assert threads() == [], "so nothing begins any more"
    assert sorted(begun) == sorted(ended) and 2 <= len(begun) <= 5


@pytest.mark.parametrize("depth", [0, -1])
def test_a_depth_below_one_is_refused_at_once(depth: int) -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        read_ahead([], depth)
