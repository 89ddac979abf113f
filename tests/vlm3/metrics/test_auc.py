"""Both AUC conventions: by hand, against references written another way, scikit-learn and kornia."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kornia.metrics import auc_from_errors
from sklearn.metrics import auc as area_under

from vlm3.metrics.auc import histogram_auc, histogram_shares, trapezoid_auc, trapezoid_interval
from vlm3.metrics.intervals import draw_groups, percentile_interval

errors_lists = st.lists(st.floats(0, 180) | st.integers(0, 40).map(float), min_size=1, max_size=40)
thresholds = st.sampled_from([5, 10, 20, 30])


def histogram_reference(errors: list[float], threshold: int) -> float:
    """Bin by bin: the share of errors below each whole number, the last bin closed."""
    shares = [sum(e < edge for e in errors) / len(errors) for edge in range(1, threshold)]
    shares.append(sum(e <= threshold for e in errors) / len(errors))
    return sum(shares) / threshold


def trapezoid_reference(errors: list[float], threshold: float) -> float:
    """The corners of the recall curve, and the area under them by scikit-learn."""
    corners = [(0.0, 0.0)]
    for rank, error in enumerate(sorted(errors), start=1):
        if error < threshold:
            corners.append((error, rank / len(errors)))
    corners.append((threshold, corners[-1][1]))
    x, y = zip(*corners, strict=True)
    return float(area_under(x, y)) / threshold


def test_the_histogram_of_a_hand_computed_case() -> None:
    # Bins 0, 0, 2, 4 and one error beyond: cumulated 2/5, 2/5, 3/5, 3/5, 4/5.
    assert histogram_auc([0.0, 0.9, 2.5, 4.0, 7.0], 5) == pytest.approx((2 + 2 + 3 + 3 + 4) / 25)


def test_the_trapezoid_of_a_hand_computed_case() -> None:
    # Corners (0, 0), (1, ½); level to 4: a triangle of ¼ and a rectangle of 1½.
    assert trapezoid_auc([1.0, 9.0], 4) == pytest.approx((0.25 + 1.5) / 4)
    # Corners (0, 0), (1, ⅓), (2, ⅔), (2, 1): 1/6 + 1/2, then 2 · 1.
    assert trapezoid_auc([2.0, 1.0, 2.0], 4) == pytest.approx((1 / 6 + 1 / 2 + 2) / 4)


def test_an_error_of_the_threshold_counts_in_the_last_bin_but_not_under_the_curve() -> None:
    assert histogram_auc([5.0], 5) == pytest.approx(1 / 5)
    assert histogram_auc([np.nextafter(5, 6)], 5) == 0.0
    assert trapezoid_auc([5.0], 5) == 0.0


def test_nothing_right_and_all_right() -> None:
    for auc in (histogram_auc, trapezoid_auc):
        assert auc([180.0, 40.0], 30) == 0.0
        assert auc([0.0, 0.0], 30) == 1.0


def test_the_conventions_differ_by_twenty_points_on_the_same_errors() -> None:
    assert histogram_auc([0.99] * 1000, 5) == 1.0
    assert trapezoid_auc([0.99] * 1000, 5) == pytest.approx(1 - 0.99 / 5, abs=1e-3)


@given(errors_lists, thresholds)
def test_the_histogram_equals_a_count_bin_by_bin_and_numpy(errors: list[float], threshold: int) -> None:
    assert histogram_auc(errors, threshold) == pytest.approx(histogram_reference(errors, threshold), abs=1e-12)
    counts, _ = np.histogram(errors, bins=np.arange(threshold + 1))
    assert histogram_auc(errors, threshold) == pytest.approx(np.cumsum(counts).mean() / len(errors), abs=1e-12)


@given(errors_lists, thresholds)
def test_the_trapezoid_equals_the_area_under_its_corners_and_kornia(errors: list[float], threshold: int) -> None:
    ours = trapezoid_auc(errors, threshold)
    assert ours == pytest.approx(trapezoid_reference(errors, threshold), abs=1e-12)
    kornia = auc_from_errors(torch.tensor(errors, dtype=torch.float64), float(threshold))[float(threshold)]
    assert 100 * ours == pytest.approx(kornia, abs=1e-10)


@given(errors_lists, thresholds, st.integers(0, 39), st.floats(0, 60))
def test_a_larger_error_never_raises_an_auc(errors: list[float], threshold: int, index: int, more: float) -> None:
    worse = errors.copy()
    worse[index % len(worse)] += more
    assert histogram_auc(worse, threshold) <= histogram_auc(errors, threshold) + 1e-12
    assert trapezoid_auc(worse, threshold) <= trapezoid_auc(errors, threshold) + 1e-12


@given(errors_lists, thresholds)
def test_both_lie_in_0_1_and_the_histogram_flatters(errors: list[float], threshold: int) -> None:
    histogram, trapezoid = histogram_auc(errors, threshold), trapezoid_auc(errors, threshold)
    assert 0 <= trapezoid <= 1 and 0 <= histogram <= 1
    # Bins round every error down; a line from step to step gives back at most half a step.
    assert trapezoid <= histogram + 1 / (2 * len(errors)) + 1e-12


def test_shares_of_the_histogram_by_hand() -> None:
    assert histogram_shares([0.0, 0.5, 1.0, 4.9, 5.0, 5.1], 5).tolist() == [1.0, 1.0, 0.8, 0.2, 0.2, 0.0]


def test_the_interval_of_the_trapezoid_equals_aucs_of_the_resampled_errors() -> None:
    rng = np.random.default_rng(0)
    errors, groups = rng.gamma(2, 8, 90), rng.integers(0, 17, 90)
    labels = np.unique(groups)
    drawn = [
        trapezoid_auc(np.concatenate([errors[groups == label] for label in np.repeat(labels, times)]), 30)
        for times in np.concatenate(list(draw_groups(len(labels), seed=4)))
    ]
    assert trapezoid_interval(errors, 30, groups, seed=4) == pytest.approx(percentile_interval(np.array(drawn)))
