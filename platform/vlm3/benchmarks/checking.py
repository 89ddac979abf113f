"""Every row of a benchmark is read once before anything is asked: bad ones are named and counted."""

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
    """A bad row."""

    row: str
    reason: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of the rows."""

    rows: tuple[str, ...]
    """That can be asked about."""
    faults: tuple[BadRow, ...]

    @classmethod
    def of(cls, found: Sequence[str | BadRow | None]) -> Self:
        """From what `check_row` gave."""
        rows = tuple(entry for entry in found if isinstance(entry, str))
        return cls(rows, tuple(entry for entry in found if isinstance(entry, BadRow)))


def check_row(benchmark: Benchmark, row: str, check: Callable[[Item], None] | None = None) -> str | BadRow | None:
    """The row, if it is good; its fault; or None where it is sound and has nothing to ask about.

    Args:
        benchmark: of the row.
        row: its name.
        check: raises DataError for an item that cannot be shown to who is measured.

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
    """What a user has to know about the bad rows of a benchmark."""
    total = len(checked.rows) + len(checked.faults)
    shown = "; ".join(f"{fault.row}: {fault.reason}" for fault in checked.faults[:SHOWN])
    more = f"; and {len(checked.faults) - SHOWN} more" if len(checked.faults) > SHOWN else ""
    return (
        f"{name}: {len(checked.faults)} of {total} rows are bad: {shown}{more}. Mend them, or leave them out with"
        " --allow-skip"
    )
