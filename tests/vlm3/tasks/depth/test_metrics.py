"""Depth scores against hand-computed cases and brute force."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vlm3.tasks.depth.metrics import align_scale, best_constant, depth_scores, within

depths = st.lists(st.floats(0.1, 100), min_size=1, max_size=40)


def test_scores_of_a_hand_computed_case() -> None:
    scores = depth_scores([1.0, 2.6, 3.0, 8.0], [1.0, 2.0, 3.1, 4.0], [0, 0, 1, 1], seed=0)
    # Ratios 1, 1.3, 1.033, 2: δ1 2 of 4, δ2 (1.5625) 3 of 4, δ3 (1.953) 3 of 4.
    assert (scores.delta1, scores.delta2, scores.delta3) == (0.5, 0.75, 0.75)
    assert scores.abs_rel == pytest.approx((0 + 0.3 + 0.1 / 3.1 + 1.0) / 4)
    assert scores.rmse_m == pytest.approx(np.sqrt((0.36 + 0.01 + 16) / 4))
    log_ratio = np.log(np.array([1.0, 1.3, 3.0 / 3.1, 2.0]))
    assert scores.silog == pytest.approx(100 * np.std(log_ratio))
    assert scores.count == 4


def test_unreadable_answers_are_wrong_and_counted_apart() -> None:
    scores = depth_scores([np.nan, 2.0], [2.0, 2.0], [0, 1], seed=0)
    assert scores.delta3 == 0.5
    assert scores.unreadable_share == 0.5
    assert scores.abs_rel == 0.0


def test_zero_and_negative_answers_are_readable_but_wrong() -> None:
    scores = depth_scores([0.0, -1.0], [1.0, 1.0], [0, 1], seed=0)
    assert scores.delta3 == 0.0
    assert scores.unreadable_share == 0.0
    assert scores.rmse_m == pytest.approx(np.sqrt((1 + 4) / 2))


def test_all_unreadable_gives_nan_errors_not_a_crash() -> None:
    scores = depth_scores([np.nan], [1.0], [0], seed=0)
    assert np.isnan(scores.abs_rel) and np.isnan(scores.silog)
    assert scores.delta1 == 0.0


@pytest.mark.parametrize("labels", [[0.0], [np.nan], [-1.0], []])
def test_labels_that_are_not_depths_are_refused(labels: list[float]) -> None:
    with pytest.raises(ValueError, match=r"labels must|expected"):
        depth_scores([1.0] * len(labels), labels, [0] * len(labels), seed=0)


@given(depths)
def test_no_constant_beats_the_best_constant(labels: list[float]) -> None:
    true = np.array(labels)

    def right(constant: float) -> float:
        return float(np.mean(np.maximum(constant / true, true / constant) < 1.25))

    # The share only changes where an interval (g/1.25, 1.25·g) begins or ends.
    candidates = [g * factor for g in labels for factor in (1 / 1.25 + 1e-9, 1.0, 1.25 - 1e-9)]
    assert right(best_constant(labels)) >= max(map(right, candidates))


def test_the_best_constant_of_a_hand_computed_case() -> None:
    # 2 and 3 share (2.4, 2.5); 10 is alone.
    assert 2.4 < best_constant([10.0, 2.0, 3.0]) < 2.5
    for labels in ([], [0.0], [np.inf]):
        with pytest.raises(ValueError, match="positive finite"):
            best_constant(labels)


@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(-5, 200) | st.just(np.nan)), min_size=1, max_size=30))
@example([(2.0, 5e-324)])
@example([(2.0, 5e-324), (2.0, 5e-324), (0.1, 5e-324)])
def test_scores_equal_a_loop_over_the_answers(pairs: list[tuple[float, float]]) -> None:
    true, predicted = (list(column) for column in zip(*pairs, strict=True))
    scores = depth_scores(predicted, true, [0] * len(pairs), seed=0)
    within, relative, squared, logs = [0, 0, 0], [], [], []
    for g, p in pairs:
        if np.isnan(p):
            continue
        relative.append(abs(p - g) / g)
        squared.append((p - g) ** 2)
        if p > 0:
            logs.append(np.log(p) - np.log(g))  # p / g of a tiny answer is 0
            for k in range(3):
                within[k] += max(p / g, g / p) < 1.25 ** (k + 1)
    assert [scores.delta1, scores.delta2, scores.delta3] == pytest.approx([w / len(pairs) for w in within])
    assert scores.unreadable_share == pytest.approx(1 - len(relative) / len(pairs))
    mean = np.mean if relative else (lambda _: np.nan)
    assert scores.abs_rel == pytest.approx(mean(relative), nan_ok=True)
    assert scores.rmse_m == pytest.approx(np.sqrt(mean(squared)), nan_ok=True)
    assert scores.silog == pytest.approx(100 * np.std(logs) if logs else np.nan, abs=1e-4, nan_ok=True)


def test_the_interval_covers_the_mean_and_narrows_with_images() -> None:
    rng = np.random.default_rng(0)
    true = np.full(4000, 2.0)
    predicted = np.where(rng.random(4000) < 0.7, 2.0, 9.0)
    few = depth_scores(predicted, true, np.arange(4000) // 400, seed=1)
    many = depth_scores(predicted, true, np.arange(4000), seed=1)
    assert many.delta1_interval[0] < many.delta1 < many.delta1_interval[1]
    width = many.delta1_interval[1] - many.delta1_interval[0]
    # Normal approximation: 2 · 1.96 · √(0.7 · 0.3 / 4000) = 0.0284.
    assert width == pytest.approx(0.0284, rel=0.15)
    assert few.delta1 == many.delta1


def test_both_intervals_hold_their_scores_and_only_one_group_leaves_no_doubt() -> None:
    rng = np.random.default_rng(0)
    true = rng.uniform(1, 9, 300)
    predicted = np.where(rng.random(300) < 0.1, np.nan, true * rng.uniform(0.6, 1.6, 300))
    scores = depth_scores(predicted, true, np.arange(300) // 5, seed=2)
    assert scores.abs_rel_interval[0] < scores.abs_rel < scores.abs_rel_interval[1]
    assert scores.delta1_interval[0] < scores.delta1 < scores.delta1_interval[1]
    one = depth_scores(predicted, true, np.zeros(300), seed=2)
    assert one.abs_rel_interval == pytest.approx((one.abs_rel, one.abs_rel))


def test_all_unreadable_has_no_interval_of_its_errors_but_one_of_its_hits() -> None:
    scores = depth_scores([np.nan, np.nan], [1.0, 2.0], [0, 1], seed=0)
    assert np.isnan(scores.abs_rel_interval).all()
    assert scores.delta1_interval == (0.0, 0.0)


def test_within_says_which_answers_are_right() -> None:
    assert within([1.0, 1.3, 1.3, np.nan, 0.0], [1.0, 1.0, 2.0, 1.0, 1.0]).tolist() == [
        True,
        False,
        False,
        False,
        False,
    ]
    assert within([1.3], [1.0], factor=1.25**2).tolist() == [True]


def test_aligning_undoes_a_factor_of_each_image() -> None:
    true = np.array([1.0, 2.0, 4.0, 3.0, 5.0])
    groups = np.array(["a", "a", "a", "b", "b"])
    aligned = align_scale(true * [3, 3, 3, 0.5, 0.5], true, groups)
    assert np.allclose(aligned, true)


def test_aligning_takes_the_median_ratio_of_positive_answers_and_keeps_the_others() -> None:
    predicted = np.array([1.0, 1.0, 1.0, np.nan, -1.0, 0.0])
    true = np.array([2.0, 3.0, 10.0, 4.0, 4.0, 7.0])
    # Ratios 2, 3, 10 of image 0; image 1 has none that is positive.
    aligned = align_scale(predicted, true, [0, 0, 0, 0, 0, 1])
    assert aligned[:3].tolist() == [3.0, 3.0, 3.0]
    assert np.isnan(aligned[3]) and aligned[4] == -3.0 and aligned[5] == 0.0
    assert predicted[0] == 1.0


@given(depths, st.floats(0.1, 10))
def test_a_scale_of_the_answers_does_not_matter_once_aligned(labels: list[float], factor: float) -> None:
    true = np.array(labels)
    predicted = true * np.linspace(0.8, 1.3, len(true))
    groups = np.arange(len(true)) % 3
    assert np.allclose(align_scale(predicted * factor, true, groups), align_scale(predicted, true, groups))
