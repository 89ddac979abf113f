"""Pauses between attempts: random, longer each time, bounded in length, number and time."""

import time
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3 import backoff
from vlm3.backoff import Backoff


@given(st.floats(0.001, 10), st.floats(0.01, 100), st.integers(1, 12))
def test_pauses_lie_below_a_ceiling_that_doubles_up_to_the_longest(first_s: float, most_s: float, count: int) -> None:
    waiting = Backoff(first_s, longest_s=most_s, attempts=count + 1)
    for k in range(count):
        pause_s = waiting.pause_s()
        assert pause_s is not None and 0 <= pause_s <= min(first_s * 2**k, most_s)
    assert waiting.pause_s() is None


def test_pauses_are_spread_over_all_of_their_range() -> None:
    backoff._jitter.seed(1)
    shares = [Backoff(8.0).pause_s() / 8 for _ in range(1000)]
    assert max(b - a for a, b in pairwise(sorted([0.0, *shares, 1.0]))) < 0.02


def test_what_is_asked_for_is_the_least_and_the_longest_is_the_most() -> None:
    assert Backoff(1.0).pause_s(7.5) == 7.5
    assert Backoff(1.0, longest_s=5.0).pause_s(7.5) == 5.0


def test_a_pause_that_would_end_after_the_deadline_is_not_made() -> None:
    assert Backoff(1.0, deadline_s=60.0).pause_s(59.0) == 59.0
    assert Backoff(1.0, deadline_s=60.0).pause_s(61.0) is None


def test_the_clock_runs_from_the_first_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Backoff(0.0, deadline_s=10.0)
    started_s = time.monotonic()
    monkeypatch.setattr(backoff, "time", SimpleNamespace(monotonic=lambda: started_s + 9.0))
    assert waiting.spent_s == pytest.approx(9.0, abs=1.0) and waiting.pause_s() == 0.0
    assert waiting.pause_s(2.0) is None


def test_without_bounds_it_never_gives_up() -> None:
    waiting = Backoff(1.0)
    assert all(waiting.pause_s() is not None for _ in range(100))
    assert Backoff(1.0, attempts=1).pause_s() is None
