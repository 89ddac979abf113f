"""Segments as arithmetic: counting and finding are inverse, and logs of changes become what they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.errors import ConfigError
from vlm3.mixture.schedule import quantise
from vlm3.mixture.segments import Change, Segment, follow

PERIOD = 32
WEIGHTS = st.lists(st.sampled_from([0.0, 0.006, 0.5, 1.0]), min_size=1, max_size=6).filter(any)


@given(WEIGHTS, st.integers(0, 10**9), st.lists(st.integers(0, 10**6), min_size=6, max_size=6), st.integers(0, 5000))
def test_where_a_number_is_reached_exactly_that_many_came_before(
    weights: list[float], begin: int, first: list[int], ahead: int
) -> None:
    counts = quantise(weights, PERIOD)
    segment = Segment(begin, counts, tuple(first[: len(counts)]), "start")
    for component, count in enumerate(counts):
        if count:
            number = first[component] + ahead
            position = segment.reached(component, number)
            assert segment.numbers(position)[component] == number
            assert segment.numbers(position + 1)[component] == number + 1
    position = begin + ahead
    assert segment.numbers(position).sum() == sum(first[: len(counts)]) + ahead
    placed = [segment.schedule.component[(p - begin) % PERIOD] for p in range(begin, begin + min(ahead, 200))]
    if ahead <= 200:
        expected = np.bincount(placed, minlength=len(counts)) if placed else np.zeros(len(counts), int)
        assert (segment.numbers(position) - np.array(first[: len(counts)])).tolist() == expected.tolist()


def test_several_components_that_end_at_once_end_in_one_segment() -> None:
    changes = [Change(0, (1.0, 1.0, 2.0), "start")]
    segments, end = follow((), changes, (8, 8, None), PERIOD)
    assert end is None
    assert segments[-1].counts == (0, 0, PERIOD)
    assert [segment.reason for segment in segments] == ["start", *["cap"] * (len(segments) - 1)]
    assert segments[-1].first_numbers[:2] == (8, 8)


def test_what_is_exhausted_when_a_change_comes_needs_no_segment_of_its_own() -> None:
    changes = [Change(0, (1.0, 0.0), "start"), Change(8, (None, 1.0), "schedule")]
    segments, end = follow((), changes, (8, None), PERIOD)
    assert [(s.from_position, s.counts, s.reason) for s in segments] == [
        (0, (PERIOD, 0), "start"),
        (8, (0, PERIOD), "schedule"),
    ]
    assert end is None


def test_a_stream_that_ends_before_a_change_could_revive_it_ends() -> None:
    changes = [Change(0, (1.0, 0.0), "start"), Change(9, (None, 1.0), "schedule")]
    segments, end = follow((), changes, (8, None), PERIOD)
    assert (len(segments), end) == (1, 8)


def test_weights_that_vanish_on_the_way_are_refused_with_their_position() -> None:
    changes = [Change(0, (1.0, 0.0), "start"), Change(70, (0.0, None), "schedule")]
    with pytest.raises(ConfigError, match="from position 70 on the mixture has no weight"):
        follow((), changes, (None, None), PERIOD)
