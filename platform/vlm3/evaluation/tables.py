"""Answers beside the truth, a table for each task: all that scores, comparisons and plots need."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, TypeVar, get_type_hints

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

LISTS = (pa.ListArray, pa.LargeListArray, pa.FixedSizeListArray)
TableT = TypeVar("TableT", bound="AnswerTable")


@dataclass(frozen=True, slots=True)
class Column:
    """How a column is stored."""

    arrow: pa.DataType
    numpy: Any
    shape: tuple[int, ...] = ()
    """Of a row."""


_TEXT, _NUMBER = (pa.string(), np.object_), (pa.float64(), np.float64)
Texts = Annotated[NDArray[np.object_], Column(*_TEXT)]
FourTexts = Annotated[NDArray[np.object_], Column(*_TEXT, (4,))]
Truths = Annotated[NDArray[np.bool_], Column(pa.bool_(), np.bool_)]
Numbers = Annotated[NDArray[np.float64], Column(*_NUMBER)]
Pairs = Annotated[NDArray[np.float64], Column(*_NUMBER, (2,))]
Vectors = Annotated[NDArray[np.float64], Column(*_NUMBER, (3,))]
Rotations = Annotated[NDArray[np.float64], Column(*_NUMBER, (3, 3))]
Transforms = Annotated[NDArray[np.float64], Column(*_NUMBER, (4, 4))]


@dataclass(frozen=True, slots=True, eq=False)
class AnswerTable:
    """Columns that every table has; N answers."""

    task: ClassVar[str]
    item: Texts
    """(N,) item of the benchmark."""
    group: Texts
    """(N,) what the bootstrap draws: image or scene."""

    def __len__(self) -> int:
        """Answers."""
        return len(self.item)


@dataclass(frozen=True, slots=True, eq=False)
class DepthTable(AnswerTable):
    """Depth at points."""

    task = "depth"
    text: Texts
    """(N,) what the model said."""
    status: Texts
    """(N,) `ok`, or why there is no value."""
    point_px: Pairs
    """(N, 2) in the original image."""
    size_px: Pairs
    """(N, 2) width and height of the original image."""
    label_kind: Texts
    """(N,) `z` or `ray`: kind of the published label; the other one is converted from it."""
    true_m: Pairs
    """(N, 2) z and ray."""
    predicted_m: Pairs
    """(N, 2) z and ray, NaN without a value."""


@dataclass(frozen=True, slots=True, eq=False)
class CorrespondenceTable(AnswerTable):
    """Places in image 2 of points of image 1."""

    task = "correspondence"
    text: Texts
    status: Texts
    """(N,) `ok`, `not visible`, or why there is no value."""
    point1_px: Pairs
    size1_px: Pairs
    true2_px: Pairs
    """(N, 2) in the original image 2; NaN where it does not see the point."""
    predicted2_px: Pairs
    """(N, 2), NaN without a place."""
    size2_px: Pairs


@dataclass(frozen=True, slots=True, eq=False)
class PoseTable(AnswerTable):
    """The pose of camera 2 in the frame of camera 1; one row a pair."""

    task = "pose"
    text: FourTexts
    """(N, 4) what the model said to the questions angle, turns, direction, distance; empty where not asked."""
    status: FourTexts
    """(N, 4) of these: `ok`, `unreadable` or `not asked`."""
    metric: Truths
    """(N,) whether lengths are metres."""
    true_cam1_T_cam2: Transforms
    predicted_angle_deg: Numbers
    predicted_cam1_R_cam2: Rotations
    """(N, 3, 3), NaN without a value."""
    predicted_direction: Vectors
    predicted_distance_m: Numbers


@dataclass(frozen=True, slots=True, eq=False)
class ObjectTable(AnswerTable):
    """Questions about objects."""

    task = "objects"
    category: Texts
    """(N,) as the benchmark calls it."""
    family: Texts
    """(N,) how it is scored: `vlm3.metrics.objects.QuestionFamily`."""
    question: Texts
    text: Texts
    status: Texts
    true: Numbers
    """(N,) metres, clock hour, 1 or 0 for yes or no, number of the region chosen."""
    predicted: Numbers


TABLES: dict[str, type[AnswerTable]] = {
    table.task: table for table in (DepthTable, CorrespondenceTable, PoseTable, ObjectTable)
}


def to_arrow(table: AnswerTable) -> pa.Table:
    """As an Arrow table; what has more than one number a row becomes lists of fixed size."""
    cells = {}
    for name, column in _columns(type(table)).items():
        flat = pa.array(getattr(table, name).ravel(), column.arrow)
        cells[name] = pa.FixedSizeListArray.from_arrays(flat, math.prod(column.shape)) if column.shape else flat
    return pa.table(cells)


def from_arrow(kind: type[TableT], found: pa.Table) -> TableT:
    """The table that `to_arrow` made, also where another library has written it anew with types of its own.

    Raises:
        KeyError: a column is missing.
        ValueError: a column holds something else.
    """
    return kind(**{name: _from_arrow(name, column, found) for name, column in _columns(kind).items()})


def _from_arrow(name: str, column: Column, found: pa.Table) -> NDArray[Any]:
    cells = found[name].combine_chunks()
    if bool(column.shape) != isinstance(cells, LISTS):
        raise ValueError(f"column {name!r} is of type {cells.type}")
    flat = cells.flatten() if column.shape else cells
    try:
        flat = flat.cast(column.arrow)
    except pa.ArrowException:
        raise ValueError(f"column {name!r} is of type {cells.type}") from None
    if flat.null_count and column.numpy is not np.float64:
        raise ValueError(f"column {name!r} lacks {flat.null_count} of {len(flat)} values")
    values: NDArray[Any] = flat.to_numpy(zero_copy_only=False).astype(column.numpy)
    return values.reshape(len(cells), *column.shape)


def concatenate(tables: Sequence[TableT]) -> TableT:
    """Rows of all tables, at least one, which are of one kind."""
    kind = type(tables[0])
    return kind(**{name: np.concatenate([getattr(table, name) for table in tables]) for name in _columns(kind)})


def take(table: TableT, rows: NDArray[np.bool_] | NDArray[np.intp]) -> TableT:
    """Some rows of a table."""
    return type(table)(**{name: getattr(table, name)[rows] for name in _columns(type(table))})


def question_columns(kind: type[AnswerTable]) -> list[str]:
    """Names of the columns that say what was asked and what is true, not what was answered."""
    answered = ("text", "status", "question", "group")
    return [name for name in _columns(kind) if name not in answered and not name.startswith("predicted")]


def _columns(kind: type[AnswerTable]) -> dict[str, Column]:
    hints = get_type_hints(kind, include_extras=True)
    return {part.name: hints[part.name].__metadata__[0] for part in fields(kind)}
