"""Predictions that another model made, from a Parquet file: values at the asked points, or dense maps.

One row an item and task: `item`, `task` (depth, correspondence, pose, objects) and `values` (a list of numbers, row
by row), with `height` and `width` where the values are a dense map, and `kind` (z or ray) of depths. docs/evaluation.md
says what `values` holds for each task.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vlm3.benchmarks.items import DepthItem, Item, ObjectItem, PairItem
from vlm3.errors import DataError
from vlm3.evaluation.answering import KINDS, correspondence_table, depth_table, is_metric, repeated, texts_of
from vlm3.evaluation.tables import AnswerTable, PoseTable
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind, convert_depth
from vlm3.geometry.rotation import rotation_angle_deg

COLUMNS = {"item": pa.string(), "task": pa.string(), "values": pa.list_(pa.float64())}
OPTIONAL = {"height": pa.int32(), "width": pa.int32(), "kind": pa.string()}
MAX_FILE_BYTES = 64 << 30


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """One row of the file."""

    where: str
    values: NDArray[np.float64]
    size: tuple[int, int] | None
    """(height, width) of a dense map."""
    kind: DepthKind | None


@dataclass(frozen=True, slots=True, eq=False)
class PredictionFile:
    """Predictions, looked up by item and task."""

    path: Path
    rows: Mapping[tuple[str, str], tuple[int, int]]
    """(item, task) → (row group, row in it)."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Index a file; values are read when they are needed.

        Raises:
            DataError: no such file, not Parquet, a column is missing or of another type, an item comes twice.
        """
        try:
            file = pq.ParquetFile(path)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path}: cannot be read as Parquet: {error}") from None
        with file:
            for name in COLUMNS:
                if name not in file.schema_arrow.names:
                    raise DataError(f"{path}: expected columns {', '.join(COLUMNS)}, found no {name!r}")
            rows: dict[tuple[str, str], tuple[int, int]] = {}
            for group in range(file.num_row_groups):
                keys = file.read_row_group(group, columns=["item", "task"])
                pairs = zip(keys["item"].to_pylist(), keys["task"].to_pylist(), strict=True)
                for number, key in enumerate(pairs):
                    if key in rows:
                        raise DataError(f"{path}: item {key[0]!r} has two predictions for {key[1]}")
                    rows[key] = (group, number)
        return cls(path, rows)

    def find(self, item: str, task: str) -> Prediction:
        """The prediction for an item.

        Raises:
            DataError: there is none, or it is not of the types of the columns.
        """
        if (item, task) not in self.rows:
            raise DataError(f"{self.path}: no {task} prediction for item {item!r}: every item of a benchmark needs one")
        group, number = self.rows[item, task]
        with pq.ParquetFile(self.path) as file:
            present = [name for name in (*COLUMNS, *OPTIONAL) if name in file.schema_arrow.names]
            try:
                table = file.read_row_group(group, columns=present).slice(number, 1)
                row = table.cast(pa.schema([(name, (COLUMNS | OPTIONAL)[name]) for name in present])).to_pylist()[0]
            except pa.ArrowException as error:
                raise DataError(f"{self.path}: {error}") from None
        where = f"{self.path.name}: {task} prediction for item {item!r}"
        height, width, kind = (row.get(name) for name in OPTIONAL)
        if (height is None) != (width is None) or (height is not None and min(height, width) < 1):
            raise DataError(f"{where}: a dense map needs height and width, both positive; found {height}, {width}")
        if kind is not None and kind not in set(DepthKind):
            raise DataError(f"{where}: kind {kind!r}, expected {' or '.join(DepthKind)}")
        values = np.array([np.nan if value is None else value for value in row["values"] or ()], np.float64)
        size = None if height is None else (height, width)
        return Prediction(where, values, size, None if kind is None else DepthKind(kind))


@dataclass(frozen=True, slots=True, eq=False)
class PredictedAnswerer:
    """Predictions of a file as answers. NaN stands for no answer, and counts as an unreadable one."""

    file: PredictionFile

    def answer(self, item: Item) -> tuple[AnswerTable, ...]:
        """What the file says of an item; nothing for tasks of which it holds no prediction at all."""
        tasks = {task for _, task in self.file.rows}
        match item:
            case DepthItem() if "depth" in tasks:
                return (self._depth(item, self.file.find(item.id, "depth")),)
            case PairItem():
                tables: list[AnswerTable] = []
                if "correspondence" in tasks and len(item.points1_px):
                    tables.append(self._correspondence(item, self.file.find(item.id, "correspondence")))
                if "pose" in tasks and item.cam1_T_cam2 is not None:
                    tables.append(self._pose(item, item.cam1_T_cam2, self.file.find(item.id, "pose")))
                return tuple(tables)
            case ObjectItem() | DepthItem():
                return ()

    def _depth(self, item: DepthItem, found: Prediction) -> AnswerTable:
        camera, count = item.frame.camera, len(item.points_px)
        said_m = _at_points(found, item.points_px, camera, 1, count)[:, 0]
        kind = found.kind or item.frame.depth_kind
        predicted = np.stack([convert_depth(said_m, item.points_px, camera, kind, to) for to in KINDS], axis=1)
        return depth_table(item, predicted, [""] * count, _statuses(predicted[:, 0]))

    def _correspondence(self, item: PairItem, found: Prediction) -> AnswerTable:
        seen = np.isfinite(item.points2_px[:, 0])
        points1_px = item.points1_px
        said = _at_points(found, points1_px, item.frame1.camera, 2, len(points1_px))
        # A dense map is a flow: where the pixel has gone, less where it was.
        predicted2_px = (said if found.size is None else points1_px + said)[seen]
        return correspondence_table(item, seen, predicted2_px, [""] * int(seen.sum()), _statuses(predicted2_px[:, 0]))

    def _pose(self, item: PairItem, true: NDArray[np.float64], found: Prediction) -> PoseTable:
        if len(found.values) != 16:
            raise DataError(f"{found.where}: expected cam1_T_cam2 as 16 numbers, row by row, found {len(found.values)}")
        cam1_T_cam2 = found.values.reshape(4, 4)
        rotation, moved = cam1_T_cam2[:3, :3], cam1_T_cam2[:3, 3]
        length = float(np.linalg.norm(moved))
        turned, has_moved = bool(np.isfinite(rotation).all()), length > 0
        statuses = ["ok" if turned else "unreadable"] * 2 + ["ok" if has_moved else "unreadable"]
        statuses.append("not asked" if not is_metric(item) else statuses[-1])
        return PoseTable(
            item=texts_of([item.id]),
            group=texts_of([item.group]),
            text=repeated("", 4)[None],
            status=texts_of(statuses)[None],
            metric=np.array([is_metric(item)]),
            true_cam1_T_cam2=true[None],
            predicted_angle_deg=np.array([rotation_angle_deg(rotation) if turned else np.nan]),
            predicted_cam1_R_cam2=(rotation if turned else np.full((3, 3), np.nan))[None],
            predicted_direction=(moved / length if has_moved else np.full(3, np.nan))[None],
            predicted_distance_m=np.array([length if is_metric(item) and np.isfinite(length) else np.nan]),
        )


def _at_points(
    found: Prediction, points_px: NDArray[np.float64], camera: Camera, channels: int, count: int
) -> NDArray[np.float64]:
    """(count, channels) values at points of the original image: as listed, or the nearest pixel of a dense map."""
    if found.size is None:
        if len(found.values) != count * channels:
            raise DataError(f"{found.where}: expected {count} points × {channels} values, found {len(found.values)}")
        return found.values.reshape(count, channels)
    height, width = found.size
    if len(found.values) != height * width * channels:
        raise DataError(
            f"{found.where}: a map of {width}x{height} px has {height * width * channels} values, found"
            f" {len(found.values)}"
        )
    dense: NDArray[np.float64] = found.values.reshape(height, width, channels)
    scale = np.array([width / camera.width_px, height / camera.height_px])
    # Pixel centres lie at whole numbers in both.
    column, row = np.rint((points_px + 0.5) * scale - 0.5).astype(int).clip(0, [width - 1, height - 1]).T
    sampled: NDArray[np.float64] = dense[row, column]
    return sampled


def _statuses(values: NDArray[np.float64]) -> list[str]:
    return ["ok" if np.isfinite(value) else "unreadable" for value in values]
