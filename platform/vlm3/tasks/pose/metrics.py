"""Pose scores: rotation and direction errors, AUC in both published conventions, and the distance and angle questions.

An answer that cannot be read has the worst error: 180 degrees, or 90 where the sign of a direction is ignored.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm3.geometry.rotation import rotation_angle_deg
from vlm3.metrics.auc import histogram_auc, histogram_shares, trapezoid_auc, trapezoid_interval
from vlm3.metrics.intervals import Interval, mean_interval, mean_known
from vlm3.metrics.relative import length_right, relative_error

Array = NDArray[np.float64]

AUC_THRESHOLDS_DEG = (5, 10, 20, 30)
"""Thresholds of the fields of `Auc`, in order."""
HEADLINE_DEG = 30
"""The threshold of published headlines, and so of the intervals."""
STILL = 1e-6
"""A camera that has moved no further than this has no direction, and is left out of the scores of distance."""


class Auc(NamedTuple):
    """Area under the curve of recall over the error, as a share, up to 5, 10, 20 and 30 degrees."""

    at_5: float
    at_10: float
    at_20: float
    at_30: float


@dataclass(frozen=True, slots=True)
class PoseScores:
    """Scores of many pairs."""

    count: int
    rotation_mean_deg: float
    """An unreadable rotation counts as 180."""
    rotation_median_deg: float
    direction_mean_deg: float
    """Signed, over the pairs that have a direction; an unreadable one counts as 180. NaN without such pairs."""
    direction_median_deg: float
    direction_unsigned_median_deg: float
    """With the sign ignored, as in published tables: 0 to 90; an unreadable one counts as 90."""
    histogram_signed: Auc
    """AUC of max(rotation error, direction error) by bins of 1 degree."""
    histogram_unsigned: Auc
    """What VGGT, Depth Anything 3 and MapAnything publish."""
    trapezoid_signed: Auc
    """The same AUC by the trapezoid rule."""
    trapezoid_unsigned: Auc
    """What SuperGlue, glue-factory and kornia publish."""
    distance_abs_rel: float
    """Mean |p - g| / g over the readable answers about metric pairs that have moved; NaN without one."""
    distance_right_share: float
    """Share of the metric pairs that have moved whose distance is right within 25 %; NaN without such pairs."""
    angle_mean_error_deg: float
    """Mean error of the rotation angle that is asked for separately, over the readable answers; NaN without one."""
    rotation_unreadable_share: float
    direction_unreadable_share: float
    """Share of the pairs that have a direction."""
    distance_unreadable_share: float
    """Share of the metric pairs that have moved."""
    angle_unreadable_share: float
    trapezoid_signed_at_30_interval: Interval
    """95 % bootstrap interval over groups, as is the next."""
    histogram_unsigned_at_30_interval: Interval


def rotation_error_deg(predicted: ArrayLike, true: ArrayLike) -> Array:
    """Degrees in [0, 180] between rotations (N, 3, 3), exact at both ends; 180 where the prediction is NaN."""
    relative = np.swapaxes(np.asarray(predicted, np.float64), 1, 2) @ np.asarray(true, np.float64)
    angles = np.array([rotation_angle_deg(rotation) for rotation in relative], np.float64)
    return np.where(np.isnan(angles), 180.0, angles)


def direction_error_deg(predicted: ArrayLike, true: ArrayLike, *, signed: bool = True) -> Array:
    """Degrees between directions of translation.

    Args:
        predicted: (N, 3) of any length; NaN or zero where there is no answer.
        true: (N, 3) translations of cam1_T_cam2: the error differs for the inverse pose.
        signed: whether the sign counts: 0 to 180; else min(e, 180 - e), the angle between lines: 0 to 90.

    Returns:
        (N,), 180 (90 unsigned) where there is no answer; NaN where the truth is at most 1e-6 long: it has no direction.
    """
    answer, truth = _unit(predicted, 0.0), _unit(true, STILL)
    # From sine and cosine together, which is exact near 0 and 180 degrees.
    sine, cosine = np.linalg.norm(np.cross(answer, truth), axis=1), np.sum(answer * truth, axis=1)
    error = np.rad2deg(np.arctan2(sine, cosine if signed else np.abs(cosine)))
    error = np.where(np.isnan(answer).any(axis=1), 180.0 if signed else 90.0, error)
    return np.where(np.isnan(truth).any(axis=1), np.nan, error)


def pose_error_deg(
    cam1_R_cam2_predicted: ArrayLike,
    direction_predicted: ArrayLike,
    cam1_T_cam2_true: ArrayLike,
    *,
    signed: bool = True,
) -> Array:
    """max(rotation error, direction error) of each pair (N,); the rotation error alone where nothing has moved."""
    true = np.asarray(cam1_T_cam2_true, np.float64)
    rotation = rotation_error_deg(cam1_R_cam2_predicted, true[:, :3, :3])
    return np.fmax(rotation, direction_error_deg(direction_predicted, true[:, :3, 3], signed=signed))


def pose_scores(
    cam1_R_cam2_predicted: ArrayLike,
    direction_predicted: ArrayLike,
    distance_predicted_m: ArrayLike,
    angle_predicted_deg: ArrayLike,
    cam1_T_cam2_true: ArrayLike,
    metric: ArrayLike,
    groups: ArrayLike,
    seed: int,
) -> PoseScores:
    """Score answers about pairs; NaN is an answer that cannot be read.

    Args:
        cam1_R_cam2_predicted: (N, 3, 3) rotations.
        direction_predicted: (N, 3) directions of camera 2 in the frame of camera 1, of any length.
        distance_predicted_m: (N,) metres; read only where `metric`.
        angle_predicted_deg: (N,) answers to the separate question by how many degrees the camera is turned.
        cam1_T_cam2_true: (N, 4, 4).
        metric: (N,) True where the translation is in metres.
        groups: (N,) scene of each pair.
        seed: seed of the bootstrap.

    Raises:
        ValueError: shapes differ, no pairs, or a true pose that is not finite.
    """
    rotation, direction, distance_m, angle_deg, true = (
        np.asarray(values, np.float64)
        for values in (
            cam1_R_cam2_predicted, direction_predicted, distance_predicted_m, angle_predicted_deg, cam1_T_cam2_true
        )
    )  # fmt: skip
    is_metric, group = np.asarray(metric, bool), np.asarray(groups)
    found = [values.shape for values in (rotation, direction, distance_m, angle_deg, true, is_metric, group)]
    n = len(true)
    if n == 0 or found != [(n, 3, 3), (n, 3), (n,), (n,), (n, 4, 4), (n,), (n,)]:
        raise ValueError(
            f"expected N ≥ 1 rotations, directions, distances, angles, poses, flags, groups, found {found}"
        )
    if not np.isfinite(true).all():
        raise ValueError("true poses must be finite: drop pairs without one before scoring")
    baseline = np.linalg.norm(true[:, :3, 3], axis=1)
    rotation_error = rotation_error_deg(rotation, true[:, :3, :3])
    signed, unsigned = (direction_error_deg(direction, true[:, :3, 3], signed=sign) for sign in (True, False))
    moved = ~np.isnan(signed)
    asked = moved & is_metric
    error, unsigned_error = np.fmax(rotation_error, signed), np.fmax(rotation_error, unsigned)
    true_angle = np.array([rotation_angle_deg(pose[:3, :3]) for pose in true])
    return PoseScores(
        count=n,
        rotation_mean_deg=float(rotation_error.mean()),
        rotation_median_deg=float(np.median(rotation_error)),
        direction_mean_deg=mean_known(signed),
        direction_median_deg=_median(signed[moved]),
        direction_unsigned_median_deg=_median(unsigned[moved]),
        histogram_signed=Auc(*(histogram_auc(error, t) for t in AUC_THRESHOLDS_DEG)),
        histogram_unsigned=Auc(*(histogram_auc(unsigned_error, t) for t in AUC_THRESHOLDS_DEG)),
        trapezoid_signed=Auc(*(trapezoid_auc(error, t) for t in AUC_THRESHOLDS_DEG)),
        trapezoid_unsigned=Auc(*(trapezoid_auc(unsigned_error, t) for t in AUC_THRESHOLDS_DEG)),
        distance_abs_rel=mean_known(relative_error(distance_m, baseline)[asked]),
        distance_right_share=mean_known(length_right(distance_m, baseline)[asked]),
        angle_mean_error_deg=mean_known(np.abs(angle_deg - true_angle)),
        rotation_unreadable_share=float(np.isnan(rotation).any(axis=(1, 2)).mean()),
        direction_unreadable_share=mean_known(np.isnan(direction[moved]).any(axis=1)),
        distance_unreadable_share=mean_known(np.isnan(distance_m)[asked]),
        angle_unreadable_share=float(np.isnan(angle_deg).mean()),
        trapezoid_signed_at_30_interval=trapezoid_interval(error, HEADLINE_DEG, group, seed),
        histogram_unsigned_at_30_interval=mean_interval(histogram_shares(unsigned_error, HEADLINE_DEG), group, seed),
    )


def _unit(vectors: ArrayLike, longer_than: float) -> Array:
    """(N, 3) unit vectors; NaN where a vector is not longer than `longer_than`, or not finite."""
    vector = np.asarray(vectors, np.float64)
    length = np.linalg.norm(vector, axis=1, keepdims=True)
    known = np.isfinite(length) & (length > longer_than)
    return np.where(known, vector / np.where(known, length, 1.0), np.nan)


def _median(values: Array) -> float:
    return float(np.median(values)) if len(values) else float("nan")
