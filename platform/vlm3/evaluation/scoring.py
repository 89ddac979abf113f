"""Answers to figures: the metrics of each task, for the model and for its baselines."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlm3.evaluation.baselines import baselines
from vlm3.evaluation.outcomes import LOST, NOT_ASKED, asked_only, sound
from vlm3.evaluation.report import MODEL, Score
from vlm3.evaluation.tables import AnswerTable, CorrespondenceTable, DepthTable, ObjectTable, PoseTable, Texts
from vlm3.metrics.correspondence import PCK_THRESHOLDS, correspondence_scores, end_point_error, visibility_scores
from vlm3.metrics.depth import align_scale, depth_scores, within
from vlm3.metrics.intervals import Interval
from vlm3.metrics.objects import QuestionFamily, object_right, object_scores
from vlm3.metrics.pose import AUC_THRESHOLDS_DEG, HEADLINE_DEG, PoseScores, pose_error_deg, pose_scores

Array = NDArray[np.float64]
Figure = tuple[str, float] | tuple[str, float, Interval]


@dataclass(frozen=True, slots=True, eq=False)
class PerAnswer:
    """A measure of single answers, for comparisons."""

    values: Array
    """(N,) finite."""
    groups: Texts
    greater_is_better: bool


def score(benchmark: str, table: AnswerTable, seed: int) -> tuple[Score, ...]:
    """All figures of a table and of its baselines, over the questions that could be asked; none where none could be.

    Args:
        benchmark: name.
        table: at least one answer.
        seed: of the bootstrap.
    """
    table = sound(asked_only(table))
    if not len(table):
        return ()
    answerers = {MODEL: table} | baselines(table)
    # A single group drawn again and again has an interval of no width, which would say too much.
    drawn = len(set(table.group)) > 1
    return tuple(
        Score(benchmark, table.task, by, *figure[:2], *(figure[2] if len(figure) == 3 and drawn else (None, None)))
        for by, answers in answerers.items()
        for figure in _figures(answers, seed)
    )


def per_answer(table: AnswerTable) -> dict[str, PerAnswer]:
    """What two models are compared by, answer by answer; an answer without a value has the worst one."""
    table = sound(table)
    match table:
        case DepthTable():
            true, said = own_kind(table)
            return {"delta1": PerAnswer(within(said, true).astype(np.float64), table.group, True)}
        case CorrespondenceTable():
            seen = np.isfinite(table.true2_px[:, 0])
            error = end_point_error(table.predicted2_px[seen], table.true2_px[seen], table.size2_px[seen])
            return {"end-point error, px": PerAnswer(error, table.group[seen], False)} if seen.any() else {}
        case PoseTable():
            if not (_asked(table)["turns"] and _asked(table)["direction"]):
                return {}
            error = pose_error_deg(table.predicted_cam1_R_cam2, table.predicted_direction, table.true_cam1_T_cam2)
            return {"error, degrees": PerAnswer(error, table.group, False)}
        case ObjectTable():
            right = object_right(_families(table), predicted=table.predicted, true=table.true)
            return {"right": PerAnswer(right.astype(np.float64), table.group, True)}
        case _:
            raise TypeError(f"no measure of {type(table).__name__}")


def own_kind(table: DepthTable) -> tuple[Array, Array]:
    """(N,) true and answered metres of the kind of the published labels."""
    rows, own = np.arange(len(table)), (table.label_kind == "ray").astype(int)
    return table.true_m[rows, own], table.predicted_m[rows, own]


def _figures(table: AnswerTable, seed: int) -> Iterator[Figure]:
    match table:
        case DepthTable():
            return _depth(table, seed)
        case CorrespondenceTable():
            return _correspondence(table, seed)
        case PoseTable():
            return _pose(table, seed)
        case ObjectTable():
            return _objects(table, seed)
        case _:
            raise TypeError(f"no scores of {type(table).__name__}")


def _depth(table: DepthTable, seed: int) -> Iterator[Figure]:
    true, said = own_kind(table)
    groups = table.group.astype(str)
    found = depth_scores(said, true, groups, seed)
    yield "count", float(found.count)
    yield "delta1", found.delta1, found.delta1_interval
    yield "delta2", found.delta2
    yield "delta3", found.delta3
    yield "abs_rel", found.abs_rel, found.abs_rel_interval
    yield "silog", found.silog
    yield "unreadable_share", found.unreadable_share
    # δ and AbsRel are ratios, the same for z and ray; metres are not.
    for column, kind in enumerate(("z", "ray")):
        yield f"{kind}_rmse_m", depth_scores(table.predicted_m[:, column], table.true_m[:, column], groups, seed).rmse_m
    aligned = depth_scores(align_scale(said, true, table.item.astype(str)), true, groups, seed)
    yield "aligned_delta1", aligned.delta1, aligned.delta1_interval
    yield "aligned_abs_rel", aligned.abs_rel, aligned.abs_rel_interval


def _correspondence(table: CorrespondenceTable, seed: int) -> Iterator[Figure]:
    seen, groups = np.isfinite(table.true2_px[:, 0]), table.group.astype(str)
    unreadable = np.isin(table.status, LOST)
    yield "count", float(seen.sum())
    if seen.any():
        found = correspondence_scores(
            table.predicted2_px[seen],
            table.true2_px[seen],
            table.size2_px[seen],
            unreadable[seen],
            groups[seen],
            seed,
        )
        yield "epe_mean_px", found.epe_mean_px, found.epe_mean_interval
        yield "epe_median_px", found.epe_median_px
        for place, k in enumerate(PCK_THRESHOLDS):
            interval = (found.pck_px_at_10_interval,) if k == 10 else ()
            yield f"pck_{k}_px", found.pck_px[place], *interval
            yield f"pck_{k}_normalised", found.pck_normalised[place]
        yield "unreadable_share", found.unreadable_share
    if not seen.all():
        said_hidden = table.status == "not visible"
        hidden = visibility_scores(said_hidden, ~seen, unreadable, groups, seed)
        yield "hidden_found_share", hidden.hidden_found_share, hidden.hidden_found_interval
        yield "visible_denied_share", hidden.visible_denied_share, hidden.visible_denied_interval


def _pose(table: PoseTable, seed: int) -> Iterator[Figure]:
    found = pose_scores(
        table.predicted_cam1_R_cam2,
        table.predicted_direction,
        table.predicted_distance_m,
        table.predicted_angle_deg,
        table.true_cam1_T_cam2,
        table.metric,
        table.group.astype(str),
        seed,
    )
    yield "count", float(found.count)
    # What nobody was asked about has no figures: it would look like the worst answers.
    asked = _asked(table)
    if asked["turns"]:
        for name in ("rotation_mean_deg", "rotation_median_deg", "rotation_unreadable_share"):
            yield name, getattr(found, name)
    if asked["direction"]:
        for name in ("mean_deg", "median_deg", "unsigned_median_deg", "unreadable_share"):
            yield f"direction_{name}", getattr(found, f"direction_{name}")
    if asked["turns"] and asked["direction"]:
        yield from _areas(found)
    if asked["distance"]:
        for name in ("abs_rel", "right_share", "unreadable_share"):
            yield f"distance_{name}", getattr(found, f"distance_{name}")
    if asked["angle"]:
        yield "angle_mean_error_deg", found.angle_mean_error_deg
        yield "angle_unreadable_share", found.angle_unreadable_share
    said = table.status[table.status != NOT_ASKED]
    yield "unreadable_share", float(np.isin(said, LOST).mean()) if len(said) else float("nan")


def _areas(found: PoseScores) -> Iterator[Figure]:
    intervals = {
        "trapezoid_signed": found.trapezoid_signed_at_30_interval,
        "histogram_unsigned": found.histogram_unsigned_at_30_interval,
    }
    for way in ("histogram_signed", "histogram_unsigned", "trapezoid_signed", "trapezoid_unsigned"):
        for place, k in enumerate(AUC_THRESHOLDS_DEG):
            interval = (intervals[way],) if k == HEADLINE_DEG and way in intervals else ()
            yield f"auc_{k}_{way}", getattr(found, way)[place], *interval


def _asked(table: PoseTable) -> dict[str, bool]:
    """Which of the questions was asked of any pair."""
    columns = (table.status != NOT_ASKED).any(axis=0)
    return dict(zip(("angle", "turns", "direction", "distance"), columns.tolist(), strict=True))


def _objects(table: ObjectTable, seed: int) -> Iterator[Figure]:
    found = object_scores(
        list(table.category),
        _families(table),
        predicted=table.predicted,
        true=table.true,
        groups=table.group.astype(str),
        seed=seed,
    )
    yield "count", float(len(table))
    yield "unreadable_share", float(np.isnan(table.predicted).mean())
    for name, family in (("qualitative", found.qualitative), ("quantitative", found.quantitative)):
        yield f"{name}_count", float(family.count)
        if family.count:
            yield f"{name}_micro", family.right.micro, family.right.micro_interval
            yield f"{name}_macro", family.right.macro, family.right.macro_interval
    if found.quantitative.count:
        lengths = found.quantitative.abs_rel
        yield "length_abs_rel", lengths.micro, lengths.micro_interval
        yield "length_abs_rel_macro", lengths.macro, lengths.macro_interval
    for category in found.categories:
        yield f"category/{category.category}/count", float(category.count)
        yield f"category/{category.category}/right", category.right_share
        yield f"category/{category.category}/unreadable_share", category.unreadable_share
        if category.family is QuestionFamily.LENGTH:
            yield f"category/{category.category}/abs_rel", category.abs_rel
        if category.family is QuestionFamily.CLOCK:
            yield f"category/{category.category}/error_deg", category.clock_error_deg


def _families(table: ObjectTable) -> list[QuestionFamily]:
    return [QuestionFamily(family) for family in table.family]
