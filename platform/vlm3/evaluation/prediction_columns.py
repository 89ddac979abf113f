"""Columns of a file of predictions, whichever library wrote it: what means the same is read as the same.

pandas writes whole numbers beside missing ones as floats, what is missing as NaN, and categories as dictionaries.
"""

import math
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vlm3.errors import DataError

VALUES = "values"
NAMES = ("item", "task")
OPTIONAL = ("height", "width", "kind")
LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
NUMBERS = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_null)


def check_columns(path: Path, schema: pa.Schema) -> None:
    """Refuse a file that lacks a column, has one twice, or whose values are no lists of numbers.

    Columns may stand in any order, and others beside them.

    Raises:
        DataError: naming the column, what was expected and what was found.
    """
    for name in (*NAMES, VALUES):
        if name not in schema.names:
            raise DataError(
                f"{path}: expected columns {', '.join((*NAMES, VALUES))}, found no {name!r} (but"
                f" {', '.join(map(repr, schema.names)) or 'none at all'})"
            )
    for name in (*NAMES, VALUES, *OPTIONAL):
        if schema.names.count(name) > 1:
            raise DataError(f"{path}: column {name!r}: expected one, found {schema.names.count(name)}")
    kind = schema.field(VALUES).type
    if not (any(is_list(kind) for is_list in LISTS) and any(is_number(kind.value_type) for is_number in NUMBERS)):
        raise DataError(f"{path}: column {VALUES!r} is of type {kind}, expected lists of numbers, row by row")


def text(cell: object, where: str) -> str | None:
    """A text, None where there is none. A whole number is the text of its digits: names may look like numbers.

    Raises:
        DataError: it is something else.
    """
    if isinstance(cell, str):
        return cell
    number = whole_number(cell, where, "text")
    return None if number is None else str(number)


def whole_number(cell: object, where: str, expected: str = "a whole number") -> int | None:
    """A whole number, None where there is none; 12.0 is 12.

    Raises:
        DataError: it is something else.
    """
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if (
        isinstance(cell, int | float | Decimal)
        and not isinstance(cell, bool)
        and math.isfinite(cell)
        and cell == int(cell)
    ):
        return int(cell)
    raise DataError(f"{where}: expected {expected}, found {cell!r:.80}")


def are_truths(kind: pa.DataType) -> bool:
    """Whether lists of this type hold true and false."""
    return bool(pa.types.is_boolean(kind.value_type))


def numbers(cell: pa.Scalar) -> NDArray[np.float64]:
    """(N,) numbers of a list; NaN where one is missing or not finite. (0,) without a list. True is 1, false is 0."""
    if not cell.is_valid:
        return np.empty(0)
    values: NDArray[np.float64] = cell.values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values), values, np.nan)
