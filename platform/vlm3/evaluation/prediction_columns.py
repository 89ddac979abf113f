"""Columns of a file of predictions: values that mean the same are read as the same, whichever library wrote the file.

pandas writes whole numbers as floats if some are missing, missing values as NaN, and categories as dictionaries.
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
    """Check that no column is missing or there twice, and that the values are lists of numbers.

    Columns may be in any order, and there may be others.

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
    """The text in a cell; None if it is empty. A whole number becomes text, since names may look like numbers.

    Raises:
        DataError: the cell holds something else.
    """
    if isinstance(cell, str):
        return cell
    number = whole_number(cell, where, "text")
    return None if number is None else str(number)


def whole_number(cell: object, where: str, expected: str = "a whole number") -> int | None:
    """The whole number in a cell; None if it is empty. 12.0 counts as 12.

    Raises:
        DataError: the cell holds something else.
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
    """(N,) numbers of a list, NaN for a missing or infinite one; (0,) if there is no list. True becomes 1, false 0."""
    if not cell.is_valid:
        return np.empty(0)
    values: NDArray[np.float64] = cell.values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values), values, np.nan)
