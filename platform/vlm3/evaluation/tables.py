"""Answers beside the truth, a table for each task: all that scores, comparisons and plots need."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Texts = NDArray[np.object_]
Numbers = NDArray[np.float64]
TableT = TypeVar("TableT", bound="AnswerTable")


def _column(kind: str, *shape: int) -> Any:
    return field(metadata={"kind": kind, "shape": shape})


@dataclass(frozen=True, slots=True, eq=False)
class AnswerTable:
    """Columns that every table has; N answers."""

    task: ClassVar[str]
    item: Texts = _column("text")
    """(N,) item of the benchmark."""
    group: Texts = _column("text")
    """(N,) what the bootstrap draws: image or scene."""

    def __len__(self) -> int:
        """Answers."""
        return len(self.item)

    @property
    def truth(self) -> Numbers:
        """(N, …) what would be right."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, eq=False)
class DepthTable(AnswerTable):
    """Depth at points."""

    task = "depth"
    text: Texts = _column("text")
    """(N,) what the model said."""
    status: Texts = _column("text")
    """(N,) `ok`, or why there is no value."""
    point_px: Numbers = _column("number", 2)
    """(N, 2) in the original image."""
    size_px: Numbers = _column("number", 2)
    """(N, 2) width and height of the original image."""
    label_kind: Texts = _column("text")
    """(N,) `z` or `ray`: kind of the published label; the other one is converted from it."""
    true_m: Numbers = _column("number", 2)
    """(N, 2) z and ray."""
    predicted_m: Numbers = _column("number", 2)
    """(N, 2) z and ray, NaN without a value."""

    @property
    def truth(self) -> Numbers:
        """`true_m`."""
        return self.true_m


@dataclass(frozen=True, slots=True, eq=False)
class CorrespondenceTable(AnswerTable):
    """Places in image 2 of points of image 1."""

    task = "correspondence"
    text: Texts = _column("text")
    status: Texts = _column("text")
    """(N,) `ok`, `not visible`, or why there is no value."""
    point1_px: Numbers = _column("number", 2)
    size1_px: Numbers = _column("number", 2)
    true2_px: Numbers = _column("number", 2)
    """(N, 2) in the original image 2; NaN where it does not see the point."""
    predicted2_px: Numbers = _column("number", 2)
    """(N, 2), NaN without a place."""
    size2_px: Numbers = _column("number", 2)

    @property
    def truth(self) -> Numbers:
        """`true2_px`."""
        return self.true2_px


@dataclass(frozen=True, slots=True, eq=False)
class PoseTable(AnswerTable):
    """The pose of camera 2 in the frame of camera 1; one row a pair."""

    task = "pose"
    text: Texts = _column("text", 4)
    """(N, 4) what the model said to the questions angle, turns, direction, distance; empty where not asked."""
    status: Texts = _column("text", 4)
    """(N, 4) of these: `ok`, `unreadable` or `not asked`."""
    metric: NDArray[np.bool_] = _column("truth")
    """(N,) whether lengths are metres."""
    true_cam1_T_cam2: Numbers = _column("number", 4, 4)
    predicted_angle_deg: Numbers = _column("number")
    predicted_cam1_R_cam2: Numbers = _column("number", 3, 3)
    """(N, 3, 3), NaN without a value."""
    predicted_direction: Numbers = _column("number", 3)
    predicted_distance_m: Numbers = _column("number")

    @property
    def truth(self) -> Numbers:
        """`true_cam1_T_cam2`."""
        return self.true_cam1_T_cam2


@dataclass(frozen=True, slots=True, eq=False)
class ObjectTable(AnswerTable):
    """Questions about objects."""

    task = "objects"
    category: Texts = _column("text")
    """(N,) as the benchmark calls it."""
    family: Texts = _column("text")
    """(N,) how it is scored: `vlm3.metrics.objects.QuestionFamily`."""
    question: Texts = _column("text")
    text: Texts = _column("text")
    status: Texts = _column("text")
    true: Numbers = _column("number")
    """(N,) metres, clock hour, 1 or 0 for yes or no, number of the region chosen."""
    predicted: Numbers = _column("number")

    @property
    def truth(self) -> Numbers:
        """`true`."""
        return self.true


TABLES: dict[str, type[AnswerTable]] = {
    table.task: table for table in (DepthTable, CorrespondenceTable, PoseTable, ObjectTable)
}


def to_arrow(table: AnswerTable) -> pa.Table:
    """As an Arrow table; what has more than one number a row becomes lists of fixed size."""
    columns = {}
    for column in fields(table):
        values, size = getattr(table, column.name), int(np.prod(column.metadata["shape"]))
        kind = _ARROW[column.metadata["kind"]]
        flat = pa.array(values.ravel(), kind)
        columns[column.name] = pa.FixedSizeListArray.from_arrays(flat, size) if column.metadata["shape"] else flat
    return pa.table(columns)


def from_arrow(kind: type[TableT], found: pa.Table) -> TableT:
    """The table that `to_arrow` made.

    Raises:
        KeyError: a column is missing.
    """
    values = {}
    for column in fields(kind):
        cells = found[column.name].combine_chunks()
        shape = column.metadata["shape"]
        flat = cells.flatten() if shape else cells
        numbers = flat.to_numpy(zero_copy_only=False).astype(_NUMPY[column.metadata["kind"]])
        values[column.name] = numbers.reshape(len(cells), *shape)
    return kind(**values)


def concatenate(tables: Sequence[TableT]) -> TableT:
    """Rows of all tables, at least one, which are of one kind."""
    kind = type(tables[0])
    return kind(**{c.name: np.concatenate([getattr(table, c.name) for table in tables]) for c in fields(kind)})


def take(table: TableT, rows: NDArray[np.bool_] | NDArray[np.intp]) -> TableT:
    """Some rows of a table."""
    return type(table)(**{column.name: getattr(table, column.name)[rows] for column in fields(table)})


_ARROW = {"text": pa.string(), "number": pa.float64(), "truth": pa.bool_()}
_NUMPY: dict[str, Any] = {"text": np.object_, "number": np.float64, "truth": np.bool_}
