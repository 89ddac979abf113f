"""Predictions that another model made, from a Parquet file: values at the asked points, or dense maps.

One row per item and task: `item`, `task` and `values` (a list of numbers, row by row), with `height` and `width` where
the values are a dense map, and `kind` (z or ray) for depths. docs/evaluation.md says what `values` holds for each task.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from vlm3.asking.items import Item
from vlm3.asking.predictions import Prediction
from vlm3.asking.tables import AnswerTable
from vlm3.errors import DataError, nearest
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
from vlm3.geometry.depth import DepthKind
from vlm3.tasks import SCORED

MAX_GROUP_BYTES = 4 << 30
"""Maximum size of a row group: one is read as a whole, and kept until another is needed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the values of a prediction are in the file, and how to read them."""

    group: int
    """Number of the row group."""
    row: int
    """Number of the row in the group."""
    size: tuple[int, int] | None
    """(height, width) of a dense map; None for values at points."""
    kind: DepthKind | None
    """Kind of depths; None if the file does not give it."""


@dataclass(frozen=True, slots=True, eq=False)
class PredictionFile:
    """A file of predictions, which are looked up by item and task."""

    path: Path
    rows: Mapping[tuple[str, str], Place]
    """Places of the predictions by (item, task)."""
    tasks: frozenset[str]
    changed_ns: int
    """Time at which the file was last written, in nanoseconds."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a file and index its rows; values are read when they are needed.

        Raises:
            DataError: the file does not exist or is not Parquet; a column is missing or holds something else; an item
                has two predictions for a task; a task, map size or kind is invalid; or a row group is too large.
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
            numeric = sorted(task for task in tasks if not SCORED[task].table.of_truths)
            if are_truths(file.schema_arrow.field(VALUES).type) and numeric:
                raise DataError(
                    f"{path}: column {VALUES!r}: expected numbers, found true or false, which answer questions about"
                    " objects only"
                )
        return cls(path, rows, tasks, path.stat().st_mtime_ns)

    def find(self, item: str, task: str) -> Prediction:
        """The prediction for an item and a task; values that are not finite become NaN.

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
    if task not in SCORED:
        raise DataError(f"{path}: item {item!r} has task {task!r}{nearest(str(task), SCORED)}")
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
    """Values of a row group; cached until another group is wanted or the file is written again."""
    with pq.ParquetFile(path) as file:
        return _read(path, file, group, [VALUES]).combine_chunks()[VALUES]


def _read(path: Path, file: pq.ParquetFile, group: int, columns: list[str]) -> pa.Table:
    try:
        return file.read_row_group(group, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: {', '.join(columns)} of row group {group} cannot be read: {error}") from None


@dataclass(frozen=True, slots=True, eq=False)
class PredictedAnswerer:
    """Answers with the predictions of a file. NaN means that there is no answer, and counts as unreadable."""

    file: PredictionFile

    def answer(self, item: Item) -> tuple[AnswerTable, ...]:
        """The file's answers about an item; none for a task of which the file has no prediction at all."""
        tables = [room.predicted(self.file, item) for task, room in SCORED.items() if task in self.file.tasks]
        return tuple(table for table in tables if table is not None)
