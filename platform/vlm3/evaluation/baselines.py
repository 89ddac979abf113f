"""Answers that need no look at the images: what a model has to beat."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vlm3.evaluation.tables import AnswerTable, CorrespondenceTable, DepthTable, ObjectTable, PoseTable, Texts
from vlm3.metrics.depth import best_constant
from vlm3.metrics.medians import grouped_medians, medians_of_others
from vlm3.metrics.objects import QuestionFamily, object_right
from vlm3.metrics.relative import ROUNDING, TOLERANCE

ROW_BINS = 10
"""Bands of the image's height for the depth of a row."""
FORWARD = np.array([0.0, 0.0, 1.0])


def baselines(table: AnswerTable) -> dict[str, AnswerTable]:
    """Baselines of a table's task by name: the same questions, answered without the images."""
    match table:
        case DepthTable():
            return {"best constant": constant_depth(table), "depth of the row": depth_of_the_row(table)}
        case CorrespondenceTable():
            return {"copy the pixel": copied_pixel(table)}
        case PoseTable():
            return {"identity, forward": identity_pose(table)}
        case ObjectTable():
            return {"best constant": constant_object(table)}
        case _:
            raise TypeError(f"no baselines for {type(table).__name__}")


def constant_depth(table: DepthTable) -> DepthTable:
    """The one depth that is right most often on these very labels, z and ray apart: the hardest constant to beat."""
    best = [best_constant(table.true_m[:, kind]) for kind in range(2)]
    return replace(table, predicted_m=np.tile(best, (len(table), 1)), text=_all("", table), status=_all("ok", table))


def depth_of_the_row(table: DepthTable) -> DepthTable:
    """The median depth at this height of the image in all other groups; of all others where they have none there.

    Leaving the own group out keeps it honest: nothing of the image that is asked about is used.
    """
    bands = np.clip((table.point_px[:, 1] + 0.5) / table.size_px[:, 1] * ROW_BINS, 0, ROW_BINS - 1).astype(int)
    names, groups = np.unique(table.group.astype(str), return_inverse=True)
    # A single group has only itself.
    median = medians_of_others if len(names) > 1 else grouped_medians
    predicted = np.empty_like(table.true_m)
    for kind, true_m in enumerate(table.true_m.T):
        anywhere = median(true_m, groups, len(names))
        for band in np.unique(bands):
            here = bands == band
            there = median(true_m[here], groups[here], len(names))
            predicted[here, kind] = np.where(np.isnan(there), anywhere, there)[groups[here]]
    return replace(table, predicted_m=predicted, text=_all("", table), status=_all("ok", table))


def copied_pixel(table: CorrespondenceTable) -> CorrespondenceTable:
    """The same place in image 2, in proportion to its size."""
    copied = (table.point1_px + 0.5) / table.size1_px * table.size2_px - 0.5
    return replace(table, predicted2_px=copied, text=_all("", table), status=_all("ok", table))


def identity_pose(table: PoseTable) -> PoseTable:
    """Not turned, moved forward, by the median distance of these very pairs."""
    count = len(table)
    baselines_m = np.linalg.norm(table.true_cam1_T_cam2[:, :3, 3], axis=1)
    metric_m = baselines_m[table.metric]
    return replace(
        table,
        text=np.full((count, 4), "", np.object_),
        status=np.where(table.status == "not asked", table.status, "ok"),
        predicted_angle_deg=np.zeros(count),
        predicted_cam1_R_cam2=np.tile(np.eye(3), (count, 1, 1)),
        predicted_direction=np.tile(FORWARD, (count, 1)),
        predicted_distance_m=np.full(count, np.median(metric_m) if len(metric_m) else np.nan),
    )


def constant_object(table: ObjectTable) -> ObjectTable:
    """Of each category the one answer that is right most often on these very questions."""
    predicted = np.empty(len(table))
    for category in set(table.category):
        rows = table.category == category
        true = table.true[rows]
        family = str(table.family[rows][0])
        predicted[rows] = _most_right(true, QuestionFamily(family))
    return replace(table, predicted=predicted, text=_all("", table), status=_all("ok", table))


def _most_right(true: NDArray[np.float64], family: QuestionFamily) -> float:
    """The answer that the rule of the family calls right most often; the least of equally good ones."""
    if family is QuestionFamily.LENGTH:
        # Right from 0.75 to 1.25 of the truth, ends included: the most overlap is met first where one begins.
        candidates = np.unique(true * (1 - TOLERANCE))
        share = TOLERANCE + ROUNDING
        begun = np.searchsorted(np.sort(true * (1 - share)), candidates, side="right")
        ended = np.searchsorted(np.sort(true * (1 + share)), candidates, side="left")
        return float(candidates[int(np.argmax(begun - ended))])
    candidates = np.arange(1.0, 13.0) if family is QuestionFamily.CLOCK else np.unique(true)
    right = [
        int(object_right([family] * len(true), predicted=np.full(len(true), answer), true=true).sum())
        for answer in candidates
    ]
    return float(candidates[int(np.argmax(right))])


def _all(text: str, table: AnswerTable) -> Texts:
    return np.full(len(table), text, np.object_)
