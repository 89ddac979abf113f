"""Tables of answers beside the truth: their columns, and what every task makes of its own."""

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
    """Of a row."""


_TEXT, _NUMBER = (pa.string(), np.object_), (pa.float64(), np.float64)
Texts = Annotated[NDArray[np.object_], Column(*_TEXT)]
FourTexts = Annotated[NDArray[np.object_], Column(*_TEXT, (4,))]
Truths = Annotated[NDArray[np.bool_], Column(pa.bool_(), np.bool_)]
Numbers = Annotated[NDArray[np.float64], Column(*_NUMBER)]
Vectors2 = Annotated[NDArray[np.float64], Column(*_NUMBER, (2,))]
Vectors3 = Annotated[NDArray[np.float64], Column(*_NUMBER, (3,))]
Rotations = Annotated[NDArray[np.float64], Column(*_NUMBER, (3, 3))]
Transforms = Annotated[NDArray[np.float64], Column(*_NUMBER, (4, 4))]


OUTSIDE, NOT_ASKED = "outside", "not asked"
"""Statuses of a point or region that cannot be shown, and of a question about a pair that nobody meant to ask."""
LOST = ("unreadable", "cut", "refused")
"""Statuses of answers that count as unreadable, for one reason or another."""
Figure = tuple[str, float] | tuple[str, float, Interval]
"""Name and value of a metric, with its interval where it has one."""


class Headline(NamedTuple):
    """A metric in the table of a report."""

    metric: str
    heading: str
    form: str = ".3f"


@dataclass(frozen=True, slots=True, eq=False)
class PerAnswer:
    """A measure of single answers, for comparisons."""

    values: NDArray[np.float64]
    """(N,) finite."""
    groups: Texts
    greater_is_better: bool


@dataclass(frozen=True, slots=True, eq=False)
class AnswerTable(ABC):
    """Answers to the questions of one task: columns that every table has; N answers."""

    task: ClassVar[str]
    headlines: ClassVar[tuple[Headline, ...]]
    """Metrics in the report's table; its JSON holds all."""
    of_truths: ClassVar[bool] = False
    """Whether an answer may be true or false."""
    item: Texts
    """(N,) item of the benchmark."""
    group: Texts
    """(N,) what the bootstrap draws: image or scene."""

    def __len__(self) -> int:
        """Answers."""
        return len(self.item)

    @property
    @abstractmethod
    def statuses(self) -> Texts:
        """(N,), or (N, k) where a row answers k questions: `ok`, or why there is no value."""

    @abstractmethod
    def figures(self, seed: int) -> Iterator[Figure]:
        """All metrics of the answers; `seed` is of the bootstrap."""

    @abstractmethod
    def baselines(self) -> Mapping[str, Self]:
        """The same questions answered without the images, by the baseline's name: what a model has to beat."""

    @abstractmethod
    def per_answer(self) -> Mapping[str, PerAnswer]:
        """What two models are compared by, answer by answer; an answer without a value has the worst one."""

    def was_asked(self) -> NDArray[np.bool_]:
        """(N,) rows about what could be shown."""
        shown: NDArray[np.bool_] = self.statuses != OUTSIDE
        return shown

    def sound(self) -> Self:
        """The table with answers that no such answer can be, e.g. a rotation that is none, made unreadable."""
        return self

    def remark(self) -> str:
        """What a reader of the scores has to know of the answers; empty where there is nothing."""
        return ""


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


def empty(kind: type[TableT]) -> TableT:
    """A table without answers."""
    return kind(**{name: np.empty((0, *column.shape), column.numpy) for name, column in _columns(kind).items()})


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


def sizes(camera: Camera, count: int) -> NDArray[np.float64]:
    """(count, 2) width and height of an image."""
    return np.tile(np.array([camera.width_px, camera.height_px], np.float64), (count, 1))


def texts_of(texts: Sequence[str]) -> Texts:
    """(N,) texts as an array."""
    return np.array(texts, np.object_)


def repeated(text: str, count: int) -> Texts:
    """(count,) the same text."""
    return np.full(count, text, np.object_)


def share(part: int, whole: int) -> str:
    """E.g. "12 of 400 (3 %)"."""
    percent = 100 * part / whole if whole else 0.0
    return f"{part} of {whole} ({'<1' if 0 < percent < 0.5 else f'{percent:.0f}'} %)"
