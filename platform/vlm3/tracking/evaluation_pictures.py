"""Pictures of an evaluation: lines between matches, cameras from above, boxes, errors by depth and by benchmark."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vlm3.evaluation.report import HEADLINES, MODEL, Report
from vlm3.evaluation.scoring import own_kind
from vlm3.evaluation.tables import CorrespondenceTable, DepthTable, ObjectTable, PoseTable
from vlm3.geometry.camera import Camera
from vlm3.metrics.depth import within
from vlm3.metrics.relative import relative_error
from vlm3.scenes.schema import Box
from vlm3.tasks.object_answers import oriented
from vlm3.tracking.pictures import INK, MUTED, RIGHT, VIEW_GAP_PX, WRONG, plain_log_ticks, show, tidy, write

DEPTH_BINS = 8
FEWEST_IN_BIN = 5
MOST_DRAWN = 20
NEAR_SHARE = 0.02
"""Of the image's diagonal: places nearer than that are drawn as right."""
FRUSTUM = np.array([[-0.5, -0.35, 1.0], [0.5, -0.35, 1.0], [0.5, 0.35, 1.0], [-0.5, 0.35, 1.0]])
EDGES = ((0, 1), (0, 2), (0, 4), (1, 3), (1, 5), (2, 3), (2, 6), (3, 7), (4, 5), (4, 6), (5, 7), (6, 7))
"""Pairs of a box's corners, whose numbers differ by one bit."""


def match_lines(image1: NDArray[np.uint8], image2: NDArray[np.uint8], table: CorrespondenceTable) -> Figure:
    """Points of image 1, where they are in image 2 (rings) and where they were said to be (dots).

    Args:
        image1: (H, W, 3) original.
        image2: (H, W, 3) original.
        table: answers about this pair.
    """
    figure = Figure(figsize=(11.0, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    left = image1.shape[1] + VIEW_GAP_PX
    canvas = np.full((max(image1.shape[0], image2.shape[0]), left + image2.shape[1], 3), 255, np.uint8)
    canvas[: image1.shape[0], : image1.shape[1]] = image1
    canvas[: image2.shape[0], left:] = image2
    show(axes, canvas)
    near_px = NEAR_SHARE * float(np.hypot(*image2.shape[:2]))
    for row in range(min(len(table), MOST_DRAWN)):
        x1, y1 = table.point1_px[row]
        true, said = table.true2_px[row] + (left, 0), table.predicted2_px[row] + (left, 0)
        right = bool(np.hypot(*(true - said)) <= near_px)
        colour = RIGHT if right else WRONG if np.isfinite(said).all() else MUTED
        axes.plot([x1, true[0]], [y1, true[1]], color=colour, lw=0.8, alpha=0.7)
        axes.plot([true[0], said[0]], [true[1], said[1]], color=colour, lw=1.4)
        axes.scatter([x1], [y1], s=16, color=colour, edgecolors="white", linewidths=0.6)
        axes.scatter([true[0]], [true[1]], s=46, facecolors="none", edgecolors="white", linewidths=1.4)
        axes.scatter([said[0]], [said[1]], s=16, color=colour, edgecolors="white", linewidths=0.6)
    axes.set_title(
        f"{table.item[0]}: ring = truth, dot = answer, grey = no place named", fontsize=9, color=INK, parse_math=False
    )
    return figure


def camera_pair(table: PoseTable, row: int) -> Figure:
    """Both cameras from above and from the right, the second as it is and as it was said to be.

    Where no distance was said, the true one is drawn: direction and rotation are what is compared then.

    Args:
        table: answers about pairs.
        row: which of them.
    """
    true = table.true_cam1_T_cam2[row]
    length = float(np.linalg.norm(true[:3, 3])) or 1.0
    said_m = float(table.predicted_distance_m[row])
    said = np.eye(4)
    said[:3, :3] = table.predicted_cam1_R_cam2[row]
    said[:3, 3] = table.predicted_direction[row] * (said_m if np.isfinite(said_m) else length)
    figure = Figure(figsize=(9.0, 4.6), layout="constrained")
    for axes, (across, up, title, labels) in zip(
        figure.subplots(1, 2),
        ((0, 2, "from above", ("right", "forward")), (2, 1, "from the right", ("forward", "down"))),
        strict=True,
    ):
        for pose, colour, name in ((np.eye(4), INK, "camera 1"), (true, RIGHT, "camera 2"), (said, WRONG, "answer")):
            if np.isfinite(pose).all():
                _draw_camera(axes, pose, 0.35 * length, (across, up), colour, name)
        if up == 1:
            axes.invert_yaxis()
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_title(title, fontsize=10, color=INK)
        axes.set_xlabel(labels[0], fontsize=8, color=INK)
        axes.set_ylabel(labels[1], fontsize=8, color=INK)
        tidy(axes)
    axes.legend(frameon=False, fontsize=8)
    figure.suptitle(str(table.item[row]), fontsize=9, color=INK, parse_math=False)
    return figure


def boxes_overlay(image: NDArray[np.uint8], camera: Camera, boxes: Sequence[Box], table: ObjectTable) -> Figure:
    """Boxes and the regions that name them, and some questions with truth and answer.

    Args:
        image: (H, W, 3) original.
        camera: of the image.
        boxes: in the camera's frame.
        table: answers about this image.
    """
    figure = Figure(figsize=(11.5, 4.8), layout="constrained")
    picture, text = figure.subplots(1, 2, width_ratios=[2.2, 1])
    picture.set_axis_off()
    text.set_axis_off()
    show(picture, image)
    for number, box in enumerate(boxes):
        colour = f"C{number % 10}"
        points_m = oriented(box).corners_m()
        if (points_m[:, 2] > 0).all():
            u, v = camera.project(points_m).T
            for first, second in EDGES:
                picture.plot([u[first], u[second]], [v[first], v[second]], color=colour, lw=1.0)
        if box.region_px is not None:
            x0, y0, x1, y1 = box.region_px
            picture.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=colour, lw=1.6, ls="--")
            picture.text(x0, y0, box.label, fontsize=8, color="white", backgroundcolor=colour, parse_math=False)
    lines = [f"{'question':<24}{'true':>7}{'answer':>8}"]
    for row in range(min(len(table), MOST_DRAWN)):
        said = table.predicted[row]
        lines.append(f"{table.category[row][:23]:<24}{table.true[row]:>7.2f}{said:>8.2f}")
    write(text, "\n".join(lines), size=8)
    return figure


def error_by_depth(table: DepthTable) -> Figure:
    """Share of right answers and relative error in bands of true depth, of the labels' own kind.

    Args:
        table: answers of a benchmark.
    """
    true, said = own_kind(table)
    borders = np.geomspace(true.min(), max(true.max(), 1.01 * true.min()) * 1.0001, DEPTH_BINS + 1)
    band = np.clip(np.searchsorted(borders, true, side="right") - 1, 0, DEPTH_BINS - 1)
    right, relative = within(said, true), relative_error(said, true)
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    other = axes.twinx()
    middles, shares, errors = [], [], []
    for number in range(DEPTH_BINS):
        chosen = band == number
        if chosen.sum() >= FEWEST_IN_BIN:
            middles.append(float(np.sqrt(borders[number] * borders[number + 1])))
            shares.append(float(right[chosen].mean()))
            errors.append(float(np.nanmedian(relative[chosen])) if np.isfinite(relative[chosen]).any() else np.nan)
    axes.plot(middles, shares, "o-", color=RIGHT, label="δ1")
    other.plot(middles, errors, "s--", color=WRONG, label="median relative error")
    axes.set(xscale="log", xlabel="true metres", ylabel="δ1", ylim=(0, 1))
    other.set_ylabel("median relative error", color=WRONG, fontsize=9)
    other.set_ylim(bottom=0)
    plain_log_ticks(axes, "x")
    axes.set_title("accuracy by depth", fontsize=10, color=INK)
    tidy(axes)
    return figure


def score_by_benchmark(report: Report, task: str) -> Figure:
    """The first headline figure of a task that there is, on every benchmark, beside the baselines, with intervals.

    Args:
        report: of the evaluation.
        task: which it holds.
    """
    scored = {score.metric for score in report.scores if score.task == task}
    column = next(column for column in HEADLINES[task] if column.metric in scored)
    found = [score for score in report.scores if score.task == task and score.metric == column.metric]
    names = list(dict.fromkeys(score.benchmark for score in found))
    answerers = list(dict.fromkeys(score.by for score in found))
    figure = Figure(figsize=(7.5, 1.2 + 0.34 * len(names) * len(answerers)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(answerers)
    for place, by in enumerate(answerers):
        rows = {score.benchmark: score for score in found if score.by == by}
        shown = [name for name in names if name in rows]
        y = [names.index(name) + (place - (len(answerers) - 1) / 2) * height for name in shown]
        values = np.array([rows[name].value for name in shown])
        ends = [(rows[name].low, rows[name].high) for name in shown]
        spread = np.array(
            [(v - (v if a is None else a), (v if b is None else b) - v) for v, (a, b) in zip(values, ends, strict=True)]
        )
        colour = RIGHT if by == MODEL else f"C{7 + place}"
        axes.barh(y, values, height * 0.9, color=colour, label=by, xerr=np.abs(spread).T, ecolor=INK)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_title(f"{task}: {column.heading}", fontsize=10, color=INK)
    axes.legend(frameon=False, fontsize=8)
    tidy(axes)
    return figure


def _draw_camera(
    axes: Axes, pose: NDArray[np.float64], size: float, plane: tuple[int, int], colour: str, name: str
) -> None:
    across, up = plane
    ends = pose[:3, :3] @ (FRUSTUM * size).T + pose[:3, 3:4]
    outline = np.concatenate([ends, ends[:, :1]], axis=1)
    axes.plot(outline[across], outline[up], color=colour, lw=1.2)
    for end in ends.T:
        axes.plot([pose[across, 3], end[across]], [pose[up, 3], end[up]], color=colour, lw=0.9)
    axes.scatter([pose[across, 3]], [pose[up, 3]], color=colour, s=22, label=name, zorder=3)
