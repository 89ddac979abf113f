"""Tables of answers beside the truth: their columns, and what every task derives from its own table."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, NamedTuple, Self, TypeVar, get_type_hints

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vlm3.geometry.camera import Camera
from vlm3.metrics.intervals import Interval

LISTS = (pa.ListArray, pa.LargeListArray, pa.FixedSizeListArray)
TableT = TypeVar("TableT", bound="AnswerTable")


@dataclass(frozen=True, slots=True)
class Column:
    """How a column is stored."""

    arrow: pa.DataType
    numpy: Any
    shape: tuple[int, ...] = ()
    """Shape of one row."""
    later: bool = False
    """Whether tables of earlier versions lack it: its numbers are unknown there."""


_TEXT, _NUMBER = (pa.string(), np.object_), (pa.float64(), np.float64)
Texts = Annotated[NDArray[np.object_], Column(*_TEXT)]
FourTexts = Annotated[NDArray[np.object_], Column(*_TEXT, (4,))]
Truths = Annotated[NDArray[np.bool_], Column(pa.bool_(), np.bool_)]
Numbers = Annotated[NDArray[np.float64], Column(*_NUMBER)]
Vectors2 = Annotated[NDArray[np.float64], Column(*_NUMBER, (2,))]
Vectors3 = Annotated[NDArray[np.float64], Column(*_NUMBER, (3,))]
Rotations = Annotated[NDArray[np.float64], Column(*_NUMBER, (3, 3))]
Transforms = Annotated[NDArray[np.float64], Column(*_NUMBER, (4, 4))]
Intervals = Annotated[NDArray[np.float64], Column(*_NUMBER, (3, 2), later=True)]
"""Lower and upper end of an interval at each of three levels."""


OUTSIDE, NOT_ASKED = "outside", "not asked"
"""Statuses of a point or region that cannot be shown, and of a question about a pair that was left out on purpose."""
LOST = ("unreadable", "cut", "refused")
"""Statuses of answers that count as unreadable, whatever the reason."""
Figure = tuple[str, float] | tuple[str, float, Interval]
"""Name and value of a metric, with its interval where it has one."""


class Headline(NamedTuple):
    """A metric in the table of a report."""

    metric: str
    heading: str
    form: str = ".3f"


@dataclass(frozen=True, slots=True, eq=False)
class PerAnswer:
    """A measure of each single answer, for comparing two models."""

    values: NDArray[np.float64]
    """(N,) finite."""
    groups: Texts
    greater_is_better: bool


@dataclass(frozen=True, slots=True, eq=False)
class AnswerTable(ABC):
    """N rows of answers to the questions of one task, with the columns that every table has."""

    task: ClassVar[str]
    headlines: ClassVar[tuple[Headline, ...]]
    """Metrics in the report's table; the report's JSON file holds all metrics."""
    of_truths: ClassVar[bool] = False
    """Whether predictions may be given as true or false instead of numbers."""
    item: Texts
    """(N,) item of the benchmark."""
    group: Texts
    """(N,) what the bootstrap draws as a whole: image or scene."""

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.item)

    @property
    @abstractmethod
    def statuses(self) -> Texts:
        """(N,) status of each answer, or (N, k) with k questions in a row: `ok`, or why there is no value."""

    @abstractmethod
    def figures(self, seed: int) -> Iterator[Figure]:
        """All metrics of the answers; `seed` is the seed of the bootstrap."""

    @abstractmethod
    def baselines(self) -> Mapping[str, Self]:
        """Name of a baseline → the same questions answered without the images: what a model must beat."""

    @abstractmethod
    def per_answer(self) -> Mapping[str, PerAnswer]:
        """Name of a measure → what two models are compared by; an answer without a value has the worst value."""

    def was_asked(self) -> NDArray[np.bool_]:
        """(N,) True for rows whose point or region could be shown."""
        shown: NDArray[np.bool_] = self.statuses != OUTSIDE
        return shown

    def sound(self) -> Self:
        """The table with impossible answers made unreadable, e.g. a matrix that is not a rotation."""
        return self

    def remark(self) -> str:
        """What a reader of the scores must know about the answers; empty where there is nothing."""
        return ""


def to_arrow(table: AnswerTable) -> pa.Table:
    """An Arrow table with the same columns; those with more than one value in a row become fixed-size lists."""
    cells = {}
    for name, column in _columns(type(table)).items():
        flat = pa.array(getattr(table, name).ravel(), column.arrow)
        cells[name] = pa.FixedSizeListArray.from_arrays(flat, math.prod(column.shape)) if column.shape else flat
    return pa.table(cells)


def from_arrow(kind: type[TableT], found: pa.Table) -> TableT:
    """The table that `to_arrow` made, even if another library has rewritten it with types of its own.

    Raises:
        KeyError: a column is missing.
        ValueError: a column has another type, or lacks values.
    """
    return kind(**{name: _from_arrow(name, column, found) for name, column in _columns(kind).items()})


def _from_arrow(name: str, column: Column, found: pa.Table) -> NDArray[Any]:
    if column.later and name not in found.column_names:
        return np.full((len(found), *column.shape), np.nan)
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


def empty(kind: type[TableT]) -> TableT:
    """A table without answers."""
    return kind(**{name: np.empty((0, *column.shape), column.numpy) for name, column in _columns(kind).items()})


def concatenate(tables: Sequence[TableT]) -> TableT:
    """One table with the rows of all `tables`: at least one, all of one class."""
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


def sizes(camera: Camera, count: int) -> NDArray[np.float64]:
    """(count, 2) width and height of an image, the same in every row."""
    return np.tile(np.array([camera.width_px, camera.height_px], np.float64), (count, 1))


def texts_of(texts: Sequence[str]) -> Texts:
    """(N,) texts as an array."""
    return np.array(texts, np.object_)


def repeated(text: str, count: int) -> Texts:
    """(count,) one text in every row."""
    return np.full(count, text, np.object_)


def share(part: int, whole: int) -> str:
    """Text of a share, e.g. "12 of 400 (3 %)"."""
    percent = 100 * part / whole if whole else 0.0
    return f"{part} of {whole} ({'<1' if 0 < percent < 0.5 else f'{percent:.0f}'} %)"
