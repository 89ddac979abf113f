"""Bootstrap intervals over groups of answers."""

import numpy as np
import pytest

from vlm3.metrics.intervals import bootstrap_interval


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
