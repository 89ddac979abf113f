"""Predictions that another model made, from a Parquet file: values at the asked points, or dense maps.

One row an item and task: `item`, `task` and `values` (a list of numbers, row by row), with `height` and `width` where
the values are a dense map, and `kind` (z or ray) of depths. docs/evaluation.md says what `values` holds for each task.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vlm3.benchmarks.items import DepthItem, Item, ObjectItem, PairItem
from vlm3.errors import DataError, nearest
from vlm3.evaluation.answering import KINDS, correspondence_table, depth_table, is_metric, repeated, texts_of
from vlm3.evaluation.object_questions import family_of, questions_of
from vlm3.evaluation.prediction_columns import (
    NAMES,
    OPTIONAL,
    VALUES,
    are_truths,
    check_columns,
    numbers,
    text,
    whole_number,
)
from vlm3.evaluation.tables import AnswerTable, ObjectTable, PoseTable
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind, convert_depth
from vlm3.geometry.rotation import rotation_angle_deg
from vlm3.tasks.objects import ObjectsTaskConfig

TASKS = ("depth", "correspondence", "pose", "objects")
MAX_GROUP_BYTES = 4 << 30
"""Of a row group, which is read whole: it is kept while its items are asked about."""
RIGID_ROW = (0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the values of a prediction are in the file, and what they are."""

    group: int
    """Row group."""
    row: int
    """In it."""
    size: tuple[int, int] | None
    """(height, width) of a dense map."""
    kind: DepthKind | None
    """Of depths; None where the file does not say it."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """One row of the file."""

    where: str
    values: NDArray[np.float64]
    size: tuple[int, int] | None
    """(height, width) of a dense map."""
    kind: DepthKind | None

    def numbers(self, count: int, what: str) -> NDArray[np.float64]:
        """(count,) values; NaN where the row holds none at all.

        Raises:
            DataError: it holds another number of them.
        """
        if not len(self.values):
            return np.full(count, np.nan)
        if len(self.values) != count:
            raise DataError(f"{self.where}: expected {what}, found {len(self.values)}")
        return self.values


@dataclass(frozen=True, slots=True, eq=False)
class PredictionFile:
    """Predictions, looked up by item and task."""

    path: Path
    rows: Mapping[tuple[str, str], Place]
    """By (item, task)."""
    tasks: frozenset[str]
    changed_ns: int
    """When the file was written."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Index a file; values are read when they are needed.

        Raises:
            DataError: no such file, not Parquet, a column is missing or holds something else, an item comes twice, an
                unknown task, an impossible map or kind, or a row group that is too large.
        """
        try:
            file = pq.ParquetFile(path)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path}: cannot be read as Parquet: {error}") from None
        with file:
            check_columns(path, file.schema_arrow)
            rows: dict[tuple[str, str], Place] = {}
            for item, task, place in _places(path, file):
                if (item, task) in rows:
                    raise DataError(f"{path}: item {item!r} has two predictions for {task}")
                rows[item, task] = place
            tasks = frozenset(task for _, task in rows)
            if are_truths(file.schema_arrow.field(VALUES).type) and tasks != {"objects"}:
                raise DataError(
                    f"{path}: column {VALUES!r}: expected numbers, found true or false, which answer questions about"
                    " objects only"
                )
        return cls(path, rows, tasks, path.stat().st_mtime_ns)

    def find(self, item: str, task: str) -> Prediction:
        """The prediction for an item; what is not finite is NaN.

        Raises:
            DataError: there is none, or its row group is damaged.
        """
        if (item, task) not in self.rows:
            raise DataError(f"{self.path}: no {task} prediction for item {item!r}: every item of a benchmark needs one")
        place = self.rows[item, task]
        cell = _values(self.path, place.group, self.changed_ns)[place.row]
        return Prediction(_where(self.path, task, item), numbers(cell), place.size, place.kind)


def _places(path: Path, file: pq.ParquetFile) -> Iterator[tuple[str, str, Place]]:
    """Item, task and place of each row. Raises DataError naming row and column, or item and task."""
    columns = [name for name in (*NAMES, *OPTIONAL) if name in file.schema_arrow.names]
    first = 0
    for group in range(file.num_row_groups):
        size = file.metadata.row_group(group).total_byte_size
        if size > MAX_GROUP_BYTES:
            raise DataError(
                f"{path}: row group {group} has {size} bytes, at most {MAX_GROUP_BYTES} are read at once: write the"
                " file with a smaller row_group_size, e.g. 16"
            )
        rows = _read(path, file, group, columns).to_pylist()
        for number, row in enumerate(rows):
            yield _place(path, group, number, row, f"{path}: row {first + number}")
        first += len(rows)


def _place(path: Path, group: int, number: int, row: dict[str, Any], where: str) -> tuple[str, str, Place]:
    item, task = (text(row[name], f"{where}: column {name!r}") for name in NAMES)
    if item is None:
        raise DataError(f"{where}: column 'item': expected the name of an item, found none")
    if task not in TASKS:
        raise DataError(f"{path}: item {item!r} has task {task!r}{nearest(str(task), TASKS)}")
    height, width = (whole_number(row.get(name), f"{where}: column {name!r}") for name in ("height", "width"))
    kind = text(row.get("kind"), f"{where}: column 'kind'")
    if (height is None) != (width is None) or (height is not None and width is not None and min(height, width) < 1):
        raise DataError(
            f"{_where(path, task, item)}: a dense map needs height and width, both positive; found {height}, {width}"
        )
    if kind is not None and kind not in set(DepthKind):
        raise DataError(f"{_where(path, task, item)}: kind {kind!r}, expected {' or '.join(DepthKind)}")
    size = None if height is None or width is None else (height, width)
    return item, task, Place(group, number, size, None if kind is None else DepthKind(kind))


def _where(path: Path, task: str, item: str) -> str:
    return f"{path.name}: {task} prediction for item {item!r}"


@lru_cache(maxsize=1)
def _values(path: Path, group: int, changed_ns: int) -> pa.ChunkedArray:
    """Of a row group; kept until another one is asked for, or the file is written anew."""
    with pq.ParquetFile(path) as file:
        return _read(path, file, group, [VALUES]).combine_chunks()[VALUES]


def _read(path: Path, file: pq.ParquetFile, group: int, columns: list[str]) -> pa.Table:
    try:
        return file.read_row_group(group, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: {', '.join(columns)} of row group {group} cannot be read: {error}") from None


@dataclass(frozen=True, slots=True, eq=False)
class PredictedAnswerer:
    """Predictions of a file as answers. NaN stands for no answer, and counts as an unreadable one."""

    file: PredictionFile

    def answer(self, item: Item) -> tuple[AnswerTable, ...]:
        """What the file says of an item; nothing for tasks of which it holds no prediction at all."""
        tasks = self.file.tasks
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
            case ObjectItem() if "objects" in tasks:
                return self._objects(item)
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
        predicted2_px[np.isnan(predicted2_px).any(axis=1)] = np.nan
        return correspondence_table(item, seen, predicted2_px, [""] * int(seen.sum()), _statuses(predicted2_px[:, 0]))

    def _pose(self, item: PairItem, true: NDArray[np.float64], found: Prediction) -> PoseTable:
        cam1_T_cam2 = found.numbers(16, "cam1_T_cam2 as 16 numbers, row by row").reshape(4, 4)
        if np.isfinite(cam1_T_cam2).all() and not np.allclose(cam1_T_cam2[3], RIGID_ROW):
            raise DataError(f"{found.where}: the last row of cam1_T_cam2 is {cam1_T_cam2[3]}, expected 0 0 0 1")
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

    def _objects(self, item: ObjectItem) -> tuple[AnswerTable, ...]:
        questions = questions_of(item, ObjectsTaskConfig())
        if not questions:
            return ()
        found, count = self.file.find(item.id, "objects"), len(questions)
        values = found.numbers(count, f"{count} values, one a question")
        blank = repeated("", count)
        table = ObjectTable(
            item=repeated(item.id, count),
            group=repeated(item.group, count),
            category=texts_of([question.question.value for question in questions]),
            family=texts_of([family_of(question.question).value for question in questions]),
            question=blank,
            text=blank,
            status=texts_of(_statuses(values)),
            true=np.array([question.value for question in questions], np.float64),
            predicted=values,
        )
        return (table,)


def _at_points(
    found: Prediction, points_px: NDArray[np.float64], camera: Camera, channels: int, count: int
) -> NDArray[np.float64]:
    """(count, channels) values at points of the original image: as listed, or the nearest pixel of a dense map."""
    if found.size is None:
        return found.numbers(count * channels, f"{count} points × {channels} values").reshape(count, channels)
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
