"""Bootstrap intervals over groups of answers."""

import tracemalloc

import numpy as np
import pytest
from scipy.stats import bootstrap

from vlm3.metrics import intervals
from vlm3.metrics.intervals import (
    bootstrap_interval,
    bootstrap_of,
    draw_groups,
    mean_interval,
    mean_known,
    percentile_interval,
    ratio_of_sums,
)


def test_equal_groups_leave_no_doubt() -> None:
    assert bootstrap_interval(np.full(7, 3.0), np.full(7, 4), seed=0) == (0.75, 0.75)


def test_one_group_or_none() -> None:
    assert bootstrap_interval(np.array([1.0]), np.array([2]), seed=0) == (0.5, 0.5)
    assert np.isnan(bootstrap_interval(np.array([]), np.array([], int), seed=0)).all()


def test_the_seed_decides() -> None:
    rng = np.random.default_rng(0)
    sums, counts = rng.integers(0, 6, 30).astype(float), np.full(30, 5)
    one, again, other = (bootstrap_interval(sums, counts, seed) for seed in (1, 1, 2))
    assert one == again != other


def test_large_groups_weigh_more() -> None:
    low, high = bootstrap_interval(np.array([0.0, 990.0] * 20), np.array([10, 990] * 20), seed=0)
    assert 0.95 < low < 0.99 < high <= 1.0


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        # Answers of an image are right or wrong together: 60 images, P(right) = 0.6.
        sums = 5.0 * (rng.random(60) < 0.6)
        low, high = bootstrap_interval(sums, np.full(60, 5), seed, resamples=400)
        covered += low <= 0.6 <= high
    assert covered / 200 == pytest.approx(0.95, abs=0.05)


def test_the_interval_agrees_with_scipy() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(2, 1, 80)
    ours = mean_interval(values, np.arange(80), seed=0, resamples=20_000)
    theirs = bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=rng).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_the_interval_of_a_mean_leaves_nan_out() -> None:
    rng = np.random.default_rng(0)
    values, groups = rng.random(60), np.arange(60) // 4
    values[::7] = np.nan
    known = ~np.isnan(values)
    sums, counts = np.bincount(groups[known], weights=values[known]), np.bincount(groups[known])
    assert mean_interval(values, groups, seed=5) == pytest.approx(bootstrap_interval(sums, counts, seed=5))
    assert mean_known(values) == pytest.approx(np.nanmean(values))


def test_nothing_known_gives_nan() -> None:
    assert np.isnan(mean_interval([np.nan, np.nan], ["a", "b"], seed=0)).all()
    assert np.isnan(mean_interval([], [], seed=0)).all()
    assert np.isnan(mean_known([np.nan]))


def test_a_statistic_sees_how_often_each_group_was_drawn() -> None:
    values = np.array([1.0, 5.0, 9.0])

    def largest(draws: np.ndarray) -> np.ndarray:
        assert (draws.sum(axis=1) == 3).all() and draws.shape == (500, 3)
        return np.where(draws > 0, values, -np.inf).max(axis=1)

    # The largest was drawn in 1 - (2/3)³ = 70 % of the resamples, the smallest alone in 1/27 = 3.7 %.
    assert bootstrap_of(largest, 3, seed=0, resamples=500) == (1.0, 9.0)


def test_resamples_without_a_value_are_left_out() -> None:
    low, high = bootstrap_of(lambda draws: np.where(draws[:, 0] > 0, 4.0, np.nan), 2, seed=0)
    assert (low, high) == (4.0, 4.0)


def test_groups_are_drawn_evenly() -> None:
    draws = np.concatenate(list(draw_groups(8, seed=1, resamples=4000)))
    assert draws.mean(axis=0) == pytest.approx(np.ones(8), abs=0.06)
    # How often one of 8 is drawn is binomial: variance 8 · 1/8 · 7/8.
    assert draws.var(axis=0) == pytest.approx(np.full(8, 7 / 8), rel=0.1)


def test_drawn_in_parts_or_at_once_the_draws_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.random.default_rng(7).multinomial(50, np.full(50, 1 / 50), size=300)
    for most in (1, 120, 4999, 1 << 20):
        monkeypatch.setattr(intervals, "MOST_DRAWN", most)
        parts = list(draw_groups(50, seed=7, resamples=300))
        assert (np.concatenate(parts) == whole).all() and max(map(len, parts)) <= max(1, most // 50)


def test_twenty_thousand_images_take_a_bounded_memory_and_give_what_they_gave() -> None:
    groups = 20_000
    rng = np.random.default_rng(0)
    sums, counts = rng.random(groups), np.ones(groups)
    tracemalloc.start()
    found = bootstrap_interval(sums, counts, seed=3, resamples=200)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6, "whole, the draws and their copy take 64 MB, and ten times that at 2000 resamples"
    draws = np.random.default_rng(3).multinomial(groups, np.full(groups, 1 / groups), size=200)
    assert found == pytest.approx(percentile_interval(ratio_of_sums(draws, sums, counts)), rel=1e-12)
