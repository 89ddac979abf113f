"""The room of the depth task."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlm3.asking.calibration import LEVELS as CALIBRATED
from vlm3.asking.calibration import misses
from vlm3.asking.items import DepthItem, Item
from vlm3.asking.predictions import Predictions, statuses
from vlm3.asking.predictor import Predictor
from vlm3.asking.room import Listing
from vlm3.asking.spec import Asked
from vlm3.asking.tables import OUTSIDE, repeated, sizes, texts_of
from vlm3.asking.templates import TaskTemplates
from vlm3.geometry.depth import DepthKind, convert_depth
from vlm3.metrics.intervals import mean_interval
from vlm3.scenes.schema import Frame
from vlm3.seeds import generator
from vlm3.tasks.depth.answering import answer_depth
from vlm3.tasks.depth.interval_metrics import LEVELS
from vlm3.tasks.depth.metrics import best_constant, depth_scores, within
from vlm3.tasks.depth.point_depth import AskedPointDepth
from vlm3.tasks.depth.table import DepthTable
from vlm3.tasks.depth.task import AskedDepth
from vlm3.tasks.depth.templates import DepthTemplates

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = (DepthKind.Z, DepthKind.RAY)
"""Kinds of depth, in the order of the depth columns."""


class DepthRoom:
    """Depth at points that the question names."""

    asked: type[Asked] = AskedDepth
    trained_by_default = True
    templates: type[TaskTemplates] | None = DepthTemplates
    table = DepthTable

    def shown(self, item: Item) -> tuple[Frame, ...]:
        """The image of a depth item."""
        return (item.frame,) if isinstance(item, DepthItem) else ()

    def answer(self, predictor: Predictor, asked: AskedPointDepth, item: Item) -> DepthTable | None:
        """Depth at the item's points."""
        if not isinstance(item, DepthItem):
            return None
        frame, calibration = item.frame, predictor.calibration
        spreads = calibration is not None
        answers = answer_depth(predictor, frame.encoded_image, frame.camera, item.points_px, item.id, spreads=spreads)
        predicted = np.array([(a.z_depth_m, a.ray_depth_m) for a in answers], np.float64).reshape(-1, 2)
        table = depth_table(item, predicted, [a.text for a in answers], [a.status for a in answers])
        if calibration is None:
            return table
        own = KINDS.index(frame.depth_kind)
        intervals = np.full_like(table.predicted_interval_m, np.nan)
        for row, answer in enumerate(answers):
            for place, level in enumerate(LEVELS):
                found = None if answer.spread is None else answer.spread.intervals_m(calibration, level)
                if found is not None:
                    intervals[row, place] = found[own]
        return replace(table, predicted_interval_m=intervals)

    def predicted(self, predictions: Predictions, item: Item) -> DepthTable | None:
        """Table of predictions, which are metres at the points or a dense map of metres."""
        if not isinstance(item, DepthItem):
            return None
        found = predictions.find(item.id, DepthTable.task)
        answered_m = found.at_points(item.points_px, item.frame.camera, 1)[:, 0]
        kind = found.kind or item.frame.depth_kind
        converted = [convert_depth(answered_m, item.points_px, item.frame.camera, kind, to) for to in KINDS]
        predicted = np.stack(converted, axis=1)
        return depth_table(item, predicted, [""] * len(predicted), statuses(predicted[:, 0]))

    def listed(self, item: Item) -> Listing | None:
        """Image, points and kind of the labels."""
        if not isinstance(item, DepthItem):
            return None
        return Listing((item.frame.frame,), tuple(item.points_px.ravel().tolist()), item.frame.depth_kind.value)

    def plots(self, table: DepthTable) -> Iterator[tuple[str, "Figure"]]:
        """Answers against truth, and errors by depth."""
        from vlm3.pictures.drawing import scatter_true_predicted
        from vlm3.tasks.depth.pictures import error_by_depth

        yield "scatter", scatter_true_predicted(*table.own_kind())
        if len(table):
            yield "by-depth", error_by_depth(table)

    def overlay(self, item: Item, table: DepthTable) -> "Figure | None":
        """The image with its points."""
        from vlm3.pictures.drawing import depth_overlay
        from vlm3.storage.images import decode_rgb

        if not isinstance(item, DepthItem):
            return None
        return depth_overlay(decode_rgb(item.frame.encoded_image), table.point_px, *table.own_kind())

    def held_out_item(self, name: str, frame: Frame, points: int, seed: int) -> DepthItem:
        """An item with random labels; its group is the scene, since frames of a scene are alike."""
        rng = generator(seed, "evaluate", frame.source, frame.scene, frame.frame)
        chosen = np.sort(rng.permutation(len(frame.points))[:points])
        labels = frame.points[chosen].astype(np.float64)
        return DepthItem(name, frame.scene, frame, labels[:, :2], labels[:, 2])

    def outside(self, item: Item) -> DepthTable:
        """The item's points with the status `outside`."""
        assert isinstance(item, DepthItem)
        count = len(item.points_px)
        return depth_table(item, np.full((count, 2), np.nan), [""] * count, [OUTSIDE] * count)

    def misses(self, predictor: Predictor, item: Item) -> NDArray[np.float64]:
        """How far the true depths lie outside, in the kind of depth that the model is asked for."""
        assert isinstance(item, DepthItem)
        frame, asked = item.frame, predictor.ask.part(AskedPointDepth)
        if asked is None:
            return np.empty((0, len(CALIBRATED)))
        answers = answer_depth(predictor, frame.encoded_image, frame.camera, item.points_px, item.id, spreads=True)
        kind = asked.build().depth_kind
        true_m = convert_depth(item.depth_m, item.points_px, frame.camera, frame.depth_kind, kind)
        found = [
            misses(answer.spread.asked, float(metres))
            for answer, metres in zip(answers, true_m, strict=True)
            if answer.spread is not None and len(answer.spread.asked.values)
        ]
        return np.reshape(found, (-1, len(CALIBRATED)))

    def loop_figures(self, table: DepthTable, seed: int) -> dict[str, float]:
        """Metrics in the kind of the labels, of the answers and of the best constant for these very labels.

        `delta1_gain` is δ1 of the answers minus that of the constant, with its 95 % interval over scenes.
        """
        nan = float("nan")
        model = constant = dict.fromkeys(("delta1", "abs_rel", "rmse_m", "unreadable_share"), nan)
        gain, (low, high) = nan, (nan, nan)
        if len(table):
            true, answered = table.own_kind()
            groups, best = table.group.astype(str), np.full_like(true, best_constant(true))
            model, constant = (asdict(depth_scores(said, true, groups, seed)) for said in (answered, best))
            gains = within(answered, true).astype(np.float64) - within(best, true)
            gain, (low, high) = float(gains.mean()), mean_interval(gains, groups, seed)
        return {
            "delta1": model["delta1"],
            "abs_rel": model["abs_rel"],
            "rmse_m": model["rmse_m"],
            "unreadable_share": model["unreadable_share"],
            "constant_delta1": constant["delta1"],
            "constant_abs_rel": constant["abs_rel"],
            "delta1_gain": gain,
            "delta1_gain_low": low,
            "delta1_gain_high": high,
        }


def depth_table(
    item: DepthItem, predicted_m: NDArray[np.float64], texts: Sequence[str], statuses: Sequence[str]
) -> DepthTable:
    """Table of answers about an item's points: `predicted_m` (N, 2) as z and ray, NaN without a value."""
    frame, count = item.frame, len(item.points_px)
    true = [convert_depth(item.depth_m, item.points_px, frame.camera, frame.depth_kind, kind) for kind in KINDS]
    return DepthTable(
        item=repeated(item.id, count),
        group=repeated(item.group, count),
        text=texts_of(texts),
        status=texts_of(statuses),
        point_px=item.points_px,
        size_px=sizes(frame.camera, count),
        label_kind=repeated(frame.depth_kind.value, count),
        true_m=np.stack(true, axis=1),
        predicted_m=predicted_m,
        predicted_interval_m=np.full((count, len(LEVELS), 2), np.nan),
    )
