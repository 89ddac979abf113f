"""Quantised weights and the schedule of one period."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vlm3.work import calls
from vlm3.errors import ConfigError
from vlm3.mixture.schedule import build_schedule, quantise

WEIGHTS = st.lists(
    st.one_of(st.just(0.0), st.floats(1e-9, 1e9), st.integers(1, 9).map(float)), min_size=1, max_size=40
).filter(any)
COUNTS = st.lists(st.integers(0, 60), min_size=1, max_size=12).filter(any).map(tuple)


@given(WEIGHTS, st.sampled_from([40, 1000, 1 << 16]))
def test_counts_sum_to_the_period_and_positive_weights_get_a_place(weights: list[float], period: int) -> None:
    counts = quantise(weights, period)
    assert sum(counts) == period
    assert all((count >= 1) == (weight > 0) for count, weight in zip(counts, weights, strict=True))


@given(WEIGHTS)
def test_counts_are_within_one_of_the_ideal_unless_tiny_weights_were_lifted(weights: list[float]) -> None:
    period = 1 << 16
    ideal = [Fraction(weight) * period / sum(map(Fraction, weights)) for weight in weights]
    lifted = sum(0 < share < 1 for share in ideal)
    for count, share in zip(quantise(weights, period), ideal, strict=True):
        assert abs(count - share) <= 1 + lifted


def test_the_largest_remainders_are_rounded_up() -> None:
    assert quantise([1, 1, 1], 10) == (4, 3, 3)
    assert quantise([5.5, 2.3, 2.2], 10) == (6, 2, 2)
    assert quantise([0.5, 0.3, 0.2], 1 << 16) == (32768, 19661, 13107)


def test_tiny_weights_take_their_place_from_the_large() -> None:
    assert quantise([1e-12, 1.0, 0.0, 1e-12], 100) == (1, 98, 0, 1)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([0.5, -0.1], "weight 1 .* found -0.1"),
        ([float("nan")], "found nan"),
        ([1.0, float("inf")], "found inf"),
        ([0.0, 0.0], "no weight"),
        ([], "no weight"),
        ([1.0] * 11, "raise stream.period"),
    ],
)
def test_weights_that_cannot_be_drawn_are_refused(weights: list[float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        quantise(weights, 10)


@settings(max_examples=200, deadline=None)
@given(COUNTS)
def test_every_prefix_deviates_by_less_than_one_and_every_window_by_less_than_two(counts: tuple[int, ...]) -> None:
    period = sum(counts)
    component = build_schedule(counts).component
    placed = np.cumsum(component[:, None] == np.arange(len(counts)), axis=0)
    assert placed[-1].tolist() == list(counts)
    # In whole numbers: |T·placed − n·C| < T.
    deviation = period * placed - np.arange(1, period + 1)[:, None] * np.array(counts)
    assert np.abs(deviation).max() < period
    endless = np.concatenate([np.zeros((1, len(counts)), int), deviation, deviation])
    for window in {1, period // 2 + 1, period}:
        assert np.abs(endless[window:] - endless[:-window]).max() < 2 * period


@given(COUNTS)
def test_ranks_number_the_places_of_each_component(counts: tuple[int, ...]) -> None:
    schedule = build_schedule(counts)
    for index, count in enumerate(counts):
        assert schedule.rank[schedule.component == index].tolist() == list(range(count))


def test_a_period_of_32_components_is_exact_and_fast() -> None:
    weights = np.random.default_rng(0).random(32) ** 3
    counts = quantise(weights.tolist(), 1 << 16)
    build_schedule.cache_clear()
    # One place goes onto a heap and off it again: 0.02 s on one core.
    assert calls(lambda: build_schedule(counts)) < 4 * (1 << 16)
    schedule = build_schedule(counts)
    steps = np.arange(1, (1 << 16) + 1)
    for index, count in enumerate(counts):
        deviation = np.cumsum(schedule.component == index) * (1 << 16) - steps * count
        assert np.abs(deviation).max() < 1 << 16


def test_schedules_are_stable_and_cannot_be_written() -> None:
    schedule = build_schedule((3, 0, 2))
    assert schedule.component.tolist() == [0, 2, 0, 2, 0]
    with pytest.raises(ValueError, match="read-only"):
        schedule.component[0] = 1
