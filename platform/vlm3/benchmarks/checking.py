"""Reads every row of a benchmark once before anything is asked: bad rows are named and counted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from vlm3.asking.items import Item
from vlm3.benchmarks.items import Benchmark
from vlm3.errors import UserError
from vlm3.storage.failures import StorageError

SHOWN = 5


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used, and why."""

    row: str
    reason: str


@dataclass(frozen=True, slots=True)
class Checked:
    """The rows of a benchmark after the check."""

    rows: tuple[str, ...]
    """Rows that can be asked about."""
    faults: tuple[BadRow, ...]

    @classmethod
    def of(cls, found: Sequence[str | BadRow | None]) -> Self:
        """Sort the results of `check_row` for all rows; rows with nothing to ask about are left out."""
        rows = tuple(entry for entry in found if isinstance(entry, str))
        return cls(rows, tuple(entry for entry in found if isinstance(entry, BadRow)))


def check_row(benchmark: Benchmark, row: str, check: Callable[[Item], None] | None = None) -> str | BadRow | None:
    """The row's name if it is good, its fault if it is bad, None if it is sound but has nothing to ask about.

    Args:
        benchmark: benchmark that has the row.
        row: name of the row.
        check: raises DataError for an item that cannot be shown to the model that is measured.

    Raises:
        StorageError: the store does not answer, which says nothing about the row.
    """
    try:
        items = benchmark.read(row)
        if check is not None:
            for item in items:
                check(item)
        return row if items else None
    except StorageError:
        raise
    except UserError as error:
        return BadRow(row, str(error))


def refusal(name: str, checked: Checked) -> str:
    """Message for the user about the bad rows of a benchmark."""
    total = len(checked.rows) + len(checked.faults)
    shown = "; ".join(f"{fault.row}: {fault.reason}" for fault in checked.faults[:SHOWN])
    more = f"; and {len(checked.faults) - SHOWN} more" if len(checked.faults) > SHOWN else ""
    return (
        f"{name}: {len(checked.faults)} of {total} rows are bad: {shown}{more}. Mend them, or leave them out with"
        " --allow-skip"
    )
