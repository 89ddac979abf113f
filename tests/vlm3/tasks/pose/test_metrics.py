"""Pose scores: SciPy and kornia for the errors, hand-computed cases for the scores."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kornia.metrics import pose_errors
from scipy.spatial.transform import Rotation

from vlm3.metrics.auc import histogram_auc, trapezoid_auc
from vlm3.tasks.pose.metrics import (
    AUC_THRESHOLDS_DEG,
    Auc,
    PoseScores,
    direction_error_deg,
    pose_error_deg,
    pose_scores,
    rotation_error_deg,
)

NAN = float("nan")
seeds = st.integers(0, 2**32 - 1)
angles = st.floats(0, 180)


def poses(rng: np.random.Generator, n: int) -> np.ndarray:
    matrices = np.tile(np.eye(4), (n, 1, 1))
    matrices[:, :3, :3] = Rotation.random(n, rng=rng).as_matrix()
    matrices[:, :3, 3] = rng.normal(0, 2, (n, 3))
    return matrices


def turned(pose: np.ndarray, angle_deg: float) -> np.ndarray:
    turn = Rotation.from_rotvec(np.deg2rad(angle_deg) * np.array([0.6, 0.0, 0.8])).as_matrix()
    rotation: np.ndarray = pose[:3, :3] @ turn
    return rotation


def score(true: np.ndarray, **answers: object) -> PoseScores:
    """Scores of perfect answers, but for those given."""
    n = len(true)
    perfect = {
        "cam1_R_cam2_predicted": true[:, :3, :3],
        "direction_predicted": true[:, :3, 3],
        "distance_predicted_m": np.linalg.norm(true[:, :3, 3], axis=1),
        "angle_predicted_deg": np.rad2deg(Rotation.from_matrix(true[:, :3, :3]).magnitude()),
        "metric": np.ones(n, bool),
        "groups": np.arange(n),
    }
    return pose_scores(cam1_T_cam2_true=true, seed=0, **(perfect | answers))  # type: ignore[arg-type]


@pytest.mark.parametrize("angle_deg", [0.0, 1e-7, 0.01, 90.0, 179.9999, 180.0])
def test_the_rotation_error_is_exact_at_both_ends(angle_deg: float) -> None:
    pose = poses(np.random.default_rng(0), 1)[0]
    error = rotation_error_deg(turned(pose, angle_deg)[None], pose[None, :3, :3])
    assert error == pytest.approx([angle_deg], abs=1e-9)


@given(seeds)
def test_errors_agree_with_scipy_and_kornia(seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted, true = poses(rng, 6), poses(rng, 6)
    ours = rotation_error_deg(predicted[:, :3, :3], true[:, :3, :3])
    scipy = Rotation.from_matrix(predicted[:, :3, :3]).inv() * Rotation.from_matrix(true[:, :3, :3])
    assert ours == pytest.approx(np.rad2deg(scipy.magnitude()), abs=1e-9)
    for signed in (True, False):
        kornia = pose_errors(torch.tensor(predicted), torch.tensor(true), fold_translation=not signed)
        direction = direction_error_deg(predicted[:, :3, 3], true[:, :3, 3], signed=signed)
        assert ours == pytest.approx(kornia["R_err"].numpy(), abs=1e-5)
        assert direction == pytest.approx(kornia["t_err"].numpy(), abs=1e-5)
        error = pose_error_deg(predicted[:, :3, :3], predicted[:, :3, 3], true, signed=signed)
        assert error == pytest.approx(kornia["max_err"].numpy(), abs=1e-5)


@given(seeds, st.floats(1e-3, 1e3))
def test_errors_are_the_same_both_ways_and_ignore_length(seed: int, length: float) -> None:
    a, b = poses(np.random.default_rng(seed), 2)
    forth = rotation_error_deg(a[None, :3, :3], b[None, :3, :3])
    assert forth == pytest.approx(rotation_error_deg(b[None, :3, :3], a[None, :3, :3]), abs=1e-9)
    forth = direction_error_deg(a[None, :3, 3], b[None, :3, 3])
    assert forth == pytest.approx(direction_error_deg(length * b[None, :3, 3], a[None, :3, 3]), abs=1e-9)


def test_a_flipped_translation_fails_the_signed_error_only() -> None:
    assert direction_error_deg([[0, 0, -3]], [[0, 0, 1]]) == pytest.approx([180])
    assert direction_error_deg([[0, 0, -3]], [[0, 0, 1]], signed=False) == pytest.approx([0])
    true = poses(np.random.default_rng(0), 12)
    flipped = score(true, direction_predicted=-true[:, :3, 3])
    assert flipped.trapezoid_signed == Auc(0, 0, 0, 0) == flipped.histogram_signed
    assert flipped.trapezoid_unsigned == pytest.approx(Auc(1, 1, 1, 1))


@pytest.mark.parametrize("nothing", [(NAN, NAN, NAN), (0.0, 0.0, 0.0), (1.0, NAN, 0.0)])
def test_no_direction_is_the_worst_direction(nothing: tuple[float, float, float]) -> None:
    assert direction_error_deg([nothing], [[0, 0, 1]]).tolist() == [180.0]
    assert direction_error_deg([nothing], [[0, 0, 1]], signed=False).tolist() == [90.0]


@given(angles, angles)
def test_the_pose_error_is_the_larger_of_the_two(rotation_deg: float, direction_deg: float) -> None:
    pose = np.eye(4)
    pose[:3, 3] = (0, 0, 2)
    moved = [np.sin(np.deg2rad(direction_deg)), 0, np.cos(np.deg2rad(direction_deg))]
    error = pose_error_deg(turned(pose, rotation_deg)[None], [moved], pose[None])
    assert error == pytest.approx([max(rotation_deg, direction_deg)], abs=1e-6)
    unsigned = pose_error_deg(turned(pose, rotation_deg)[None], [moved], pose[None], signed=False)
    assert unsigned == pytest.approx([max(rotation_deg, min(direction_deg, 180 - direction_deg))], abs=1e-6)


def test_a_camera_that_stayed_is_judged_by_its_rotation_alone() -> None:
    true = poses(np.random.default_rng(0), 2)
    true[0, :3, 3] = 1e-8
    directions = [(NAN, NAN, NAN), tuple(true[1, :3, 3])]
    predicted = np.stack([turned(true[0], 12), turned(true[1], 2)])
    error = pose_error_deg(predicted, directions, true)
    assert error == pytest.approx([12, 2], abs=1e-6)
    scores = score(
        true, cam1_R_cam2_predicted=predicted, direction_predicted=directions, distance_predicted_m=[NAN, 1.0]
    )
    assert scores.direction_unreadable_share == 0.0 == scores.distance_unreadable_share
    assert scores.direction_mean_deg == pytest.approx(0, abs=1e-6)
    assert scores.trapezoid_signed.at_10 == pytest.approx(trapezoid_auc([12, 2], 10))


def test_perfect_answers_score_perfectly() -> None:
    scores = score(poses(np.random.default_rng(1), 30))
    for auc in (scores.histogram_signed, scores.histogram_unsigned, scores.trapezoid_signed, scores.trapezoid_unsigned):
        assert auc == pytest.approx(Auc(1, 1, 1, 1))
    assert scores.rotation_mean_deg == pytest.approx(0, abs=1e-5)
    assert (scores.distance_abs_rel, scores.distance_right_share) == pytest.approx((0, 1))
    assert scores.angle_mean_error_deg == pytest.approx(0, abs=1e-5)
    assert scores.trapezoid_signed_at_30_interval == pytest.approx((1, 1))


def test_unreadable_answers_are_the_worst_and_counted_by_question() -> None:
    true = poses(np.random.default_rng(2), 4)
    rotation, direction = true[:, :3, :3].copy(), true[:, :3, 3].copy()
    rotation[0], direction[1] = NAN, NAN
    scores = score(
        true,
        cam1_R_cam2_predicted=rotation,
        direction_predicted=direction,
        distance_predicted_m=[NAN, NAN, *np.linalg.norm(true[2:, :3, 3], axis=1)],
        angle_predicted_deg=[NAN] * 4,
        metric=[False, True, True, True],
    )
    assert scores.rotation_unreadable_share == 0.25 == scores.direction_unreadable_share
    assert scores.distance_unreadable_share == pytest.approx(1 / 3)
    assert scores.angle_unreadable_share == 1.0 and np.isnan(scores.angle_mean_error_deg)
    assert scores.rotation_mean_deg == pytest.approx(45) == scores.direction_mean_deg
    assert scores.distance_right_share == pytest.approx(2 / 3) and scores.distance_abs_rel == pytest.approx(0)
    assert scores.histogram_signed == Auc(0.5, 0.5, 0.5, 0.5) == scores.histogram_unsigned


def test_scores_of_a_hand_computed_case() -> None:
    true = np.tile(np.eye(4), (4, 1, 1))
    true[:, :3, 3] = [(0, 0, 1), (0, 0, 2), (4, 0, 0), (0, 5, 0)]
    rotation = np.stack([turned(pose, deg) for pose, deg in zip(true, (2.5, 7.2, 0.0, 40.0), strict=True)])
    direction = [(0, 0, 1), (0, 0, -1), (1, 0, 1), (0, 1, 0)]
    scores = score(
        true,
        cam1_R_cam2_predicted=rotation,
        direction_predicted=direction,
        distance_predicted_m=[1.2, 3.0, 4.0, 9.0],
        angle_predicted_deg=[1, 2, 0, NAN],
        metric=[True, True, True, False],
    )
    assert scores.rotation_mean_deg == pytest.approx((2.5 + 7.2 + 40) / 4)
    assert scores.rotation_median_deg == pytest.approx((2.5 + 7.2) / 2)
    # Directions are off by 0, 180, 45 and 0 degrees.
    assert scores.direction_mean_deg == pytest.approx(225 / 4)
    assert scores.direction_median_deg == pytest.approx(22.5)
    assert scores.direction_unsigned_median_deg == pytest.approx(0)
    signed, unsigned = [2.5, 180, 45, 40], [2.5, 7.2, 45, 40]
    for found, auc, errors in (
        (scores.histogram_signed, histogram_auc, signed),
        (scores.histogram_unsigned, histogram_auc, unsigned),
        (scores.trapezoid_signed, trapezoid_auc, signed),
        (scores.trapezoid_unsigned, trapezoid_auc, unsigned),
    ):
        assert found == pytest.approx(Auc(*(auc(errors, t) for t in AUC_THRESHOLDS_DEG)))
    assert scores.distance_abs_rel == pytest.approx((0.2 + 0.5 + 0) / 3)
    assert scores.distance_right_share == pytest.approx(2 / 3)
    assert scores.angle_mean_error_deg == pytest.approx((1 + 2 + 0) / 3)


def test_two_decimals_of_the_unit_vector_cost_what_the_method_says() -> None:
    true = poses(np.random.default_rng(0), 4000)
    unit = true[:, :3, 3] / np.linalg.norm(true[:, :3, 3], axis=1, keepdims=True)
    scores = score(true, direction_predicted=unit.round(2))
    assert scores.direction_mean_deg == pytest.approx(0.22, abs=0.02)
    assert (scores.trapezoid_signed.at_5, scores.trapezoid_signed.at_30) == pytest.approx((0.96, 0.99), abs=0.006)


def test_each_interval_holds_the_figure_of_its_own_convention() -> None:
    rng = np.random.default_rng(5)
    true = poses(rng, 120)
    rotation = np.stack([turned(pose, deg) for pose, deg in zip(true, rng.gamma(2, 8, 120), strict=True)])
    # Two of three directions are flipped: a signed figure lies far below an unsigned one.
    direction = np.where(np.arange(120)[:, None] % 3, -1, 1) * true[:, :3, 3]
    answers = {"cam1_R_cam2_predicted": rotation, "direction_predicted": direction}
    scores = score(true, **answers, groups=np.arange(120) // 4)
    low, high = scores.trapezoid_signed_at_30_interval
    assert low < scores.trapezoid_signed.at_30 < high
    low, high = scores.histogram_unsigned_at_30_interval
    assert low < scores.histogram_unsigned.at_30 < high


def test_pairs_without_motion_or_metres_have_nan_where_nothing_was_asked() -> None:
    scores = score(np.tile(np.eye(4), (2, 1, 1)), metric=[False, False])
    assert np.isnan(
        [scores.direction_mean_deg, scores.direction_median_deg, scores.direction_unsigned_median_deg]
    ).all()
    assert np.isnan([scores.distance_abs_rel, scores.distance_right_share, scores.distance_unreadable_share]).all()
    assert scores.histogram_signed.at_5 == 1.0


def test_what_cannot_be_scored_is_refused() -> None:
    true = poses(np.random.default_rng(0), 3)
    for wrong in ({"groups": [0]}, {"cam1_R_cam2_predicted": true}, {"metric": [True]}):
        with pytest.raises(ValueError, match="expected N"):
            score(true, **wrong)
    with pytest.raises(ValueError, match="expected N"):
        score(np.empty((0, 4, 4)))
    bad = true.copy()
    bad[1, 0, 3] = NAN
    with pytest.raises(ValueError, match="finite"):
        pose_scores(true[:, :3, :3], true[:, :3, 3], [1] * 3, [1] * 3, bad, [True] * 3, [0] * 3, seed=0)
