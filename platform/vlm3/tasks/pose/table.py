"""Answers about poses: columns, figures, baselines; a matrix that is not a rotation is not an answer."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vlm3.asking.tables import (
    LOST,
    NOT_ASKED,
    AnswerTable,
    Figure,
    FourTexts,
    Headline,
    Numbers,
    PerAnswer,
    Rotations,
    Texts,
    Transforms,
    Truths,
    Vectors3,
    share,
)
from vlm3.geometry.rigid import check_rigid
from vlm3.tasks.pose.metrics import AUC_THRESHOLDS_DEG, HEADLINE_DEG, PoseScores, pose_error_deg, pose_scores
from vlm3.tasks.pose.task import PoseQuestion

FORWARD = np.array([0.0, 0.0, 1.0])
ROUNDING = 1e-2
"""Largest difference of R·Rᵀ of a predicted rotation from the identity: bfloat16 has three digits."""


@dataclass(frozen=True, slots=True, eq=False)
class PoseTable(AnswerTable):
    """The pose of camera 2 in the frame of camera 1; one row for each pair."""

    task = "pose"
    headlines = (
        Headline("rotation_mean_deg", "rotation, °", ".1f"),
        Headline("direction_mean_deg", "direction, °", ".1f"),
        Headline("auc_30_histogram_unsigned", "AUC@30 histogram"),
        Headline("auc_30_trapezoid_unsigned", "trapezoid"),
        Headline("auc_30_trapezoid_signed", "trapezoid, signed"),
        Headline("distance_abs_rel", "distance AbsRel"),
        Headline("unreadable_share", "unreadable"),
        Headline("count", "pairs", ".0f"),
    )
    text: FourTexts
    """(N, 4) the model's own words on angle, turns, direction, distance; empty where not asked."""
    status: FourTexts
    """(N, 4) status of these questions: `ok`, `not asked`, or why there is no value."""
    metric: Truths
    """(N,) whether lengths are metres."""
    true_cam1_T_cam2: Transforms
    predicted_angle_deg: Numbers
    predicted_cam1_R_cam2: Rotations
    """(N, 3, 3), NaN without a value."""
    predicted_direction: Vectors3
    predicted_distance_m: Numbers

    @property
    def statuses(self) -> Texts:
        """(N, 4) status of each of the four questions."""
        return self.status

    def was_asked(self) -> NDArray[np.bool_]:
        """(N,) all True: a pose needs no point inside an image."""
        return np.ones(len(self), bool)

    def figures(self, seed: int) -> Iterator[Figure]:
        """Errors of what was asked; other questions have no figures, since these would look like the worst errors."""
        found = pose_scores(
            self.predicted_cam1_R_cam2,
            self.predicted_direction,
            self.predicted_distance_m,
            self.predicted_angle_deg,
            self.true_cam1_T_cam2,
            self.metric,
            self.group.astype(str),
            seed,
        )
        yield "count", float(found.count)
        asked = self._asked()
        turns, direction = PoseQuestion.TURNS in asked, PoseQuestion.DIRECTION in asked
        if turns:
            for name in ("rotation_mean_deg", "rotation_median_deg", "rotation_unreadable_share"):
                yield name, getattr(found, name)
        if direction:
            for name in ("mean_deg", "median_deg", "unsigned_median_deg", "unreadable_share"):
                yield f"direction_{name}", getattr(found, f"direction_{name}")
        if turns and direction:
            yield from _areas(found)
        if PoseQuestion.DISTANCE in asked:
            for name in ("abs_rel", "right_share", "unreadable_share"):
                yield f"distance_{name}", getattr(found, f"distance_{name}")
        if PoseQuestion.ANGLE in asked:
            yield "angle_mean_error_deg", found.angle_mean_error_deg
            yield "angle_unreadable_share", found.angle_unreadable_share
        answered = self.status[self.status != NOT_ASKED]
        yield "unreadable_share", float(np.isin(answered, LOST).mean()) if len(answered) else float("nan")

    def baselines(self) -> dict[str, Self]:
        """A camera that has not turned, and has moved forward by the median distance of these very metric pairs."""
        count = len(self)
        moved_m = np.linalg.norm(self.true_cam1_T_cam2[:, :3, 3], axis=1)
        metric_m = moved_m[self.metric]
        identity = replace(
            self,
            text=np.full((count, 4), "", np.object_),
            status=np.where(self.status == NOT_ASKED, self.status, "ok"),
            predicted_angle_deg=np.zeros(count),
            predicted_cam1_R_cam2=np.tile(np.eye(3), (count, 1, 1)),
            predicted_direction=np.tile(FORWARD, (count, 1)),
            predicted_distance_m=np.full(count, np.median(metric_m) if len(metric_m) else np.nan),
        )
        return {"identity, forward": identity}

    def per_answer(self) -> dict[str, PerAnswer]:
        """The larger of both angular errors, where both were asked about."""
        if not {PoseQuestion.TURNS, PoseQuestion.DIRECTION} <= self._asked():
            return {}
        error = pose_error_deg(self.predicted_cam1_R_cam2, self.predicted_direction, self.true_cam1_T_cam2)
        return {"error, degrees": PerAnswer(error, self.group, greater_is_better=False)}

    def sound(self) -> Self:
        """The table with angle and turns made unreadable where the predicted matrix is not a rotation."""
        wrong = self._no_rotations()
        if not wrong:
            return self
        rows = np.array(list(wrong))
        status, rotation, angle_deg = (
            self.status.copy(),
            self.predicted_cam1_R_cam2.copy(),
            self.predicted_angle_deg.copy(),
        )
        # Text answers always give rotations, so these rows are predicted matrices, from which the angle was taken too.
        status[rows, :2] = np.where(status[rows, :2] == NOT_ASKED, NOT_ASKED, "unreadable")
        rotation[rows], angle_deg[rows] = np.nan, np.nan
        return replace(self, status=status, predicted_cam1_R_cam2=rotation, predicted_angle_deg=angle_deg)

    def remark(self) -> str:
        """How many predicted matrices are not rotations, and why the first is not; empty where all are."""
        wrong = self._no_rotations()
        if not wrong:
            return ""
        first = next(iter(wrong))
        return (
            f"{share(len(wrong), len(self))} predicted rotations are invalid, and count as unreadable; the first, of"
            f" {self.item[first]}: {wrong[first]}"
        )

    def _asked(self) -> frozenset[PoseQuestion]:
        """Questions that were asked about at least one pair."""
        columns = (self.status != NOT_ASKED).any(axis=0)
        return frozenset(question for question, was in zip(PoseQuestion, columns.tolist(), strict=True) if was)

    def _no_rotations(self) -> dict[int, str]:
        """Row → why its predicted matrix is not a rotation."""
        found = {}
        for row, rotation in enumerate(self.predicted_cam1_R_cam2):
            if np.isfinite(rotation).all():
                pose = np.eye(4)
                pose[:3, :3] = rotation
                if fault := check_rigid(pose, ROUNDING):
                    found[row] = fault
        return found


def _areas(found: PoseScores) -> Iterator[Figure]:
    intervals = {
        "trapezoid_signed": found.trapezoid_signed_at_30_interval,
        "histogram_unsigned": found.histogram_unsigned_at_30_interval,
    }
    for way in ("histogram_signed", "histogram_unsigned", "trapezoid_signed", "trapezoid_unsigned"):
        for place, k in enumerate(AUC_THRESHOLDS_DEG):
            interval = (intervals[way],) if k == HEADLINE_DEG and way in intervals else ()
            yield f"auc_{k}_{way}", getattr(found, way)[place], *interval
