"""Comparison of two evaluations on the same questions: how much better one is, and whether that could be chance."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from rich.table import Table

from vlm3.asking.tables import AnswerTable, from_arrow, question_columns, share, take
from vlm3.errors import DataError
from vlm3.evaluation.scoring import per_answer
from vlm3.metrics.paired import PairedDifference, paired_bootstrap
from vlm3.storage.visible import visible
from vlm3.tasks import SCORED

SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Comparison:
    """Comparison in one measure of one task on one benchmark."""

    benchmark: str
    task: str
    measure: str
    a: float
    b: float
    greater_is_better: bool
    found: PairedDifference
    questions: int
    """Number of questions in the table."""
    not_asked: int
    """Number of them that were not asked of one or both models, and so are left out here."""


def compare(folder_a: Path, folder_b: Path, seed: int) -> tuple[Comparison, ...]:
    """Compare B with A by paired bootstrap on every table that both have.

    Args:
        folder_a: folder of evaluation A.
        folder_b: folder of evaluation B.
        seed: seed of the draws.

    Raises:
        DataError: one is missing, they share no table, a table cannot be read, they asked different questions, or no
            question was asked of both.
    """
    for folder in (folder_a, folder_b):
        if not folder.is_dir():
            raise DataError(f"{folder}: no such evaluation; its name is the --name it was given")
    tables_a, tables_b = _tables(folder_a), _tables(folder_b)
    shared = [key for key in tables_a if key in tables_b]
    if not shared:
        raise DataError(
            f"no benchmark and task in common: {folder_a.name} has {_listed(tables_a)}, {folder_b.name} has"
            f" {_listed(tables_b)} (an evaluation that has not ended has none)"
        )
    found = []
    for benchmark, task in shared:
        a, b = (_read(tables[benchmark, task], task) for tables in (tables_a, tables_b))
        if not _same_questions(a, b):
            raise DataError(
                f"{benchmark}/{task}: {folder_a.name} and {folder_b.name} answer different questions: evaluate both on"
                " the same data with the same --limit"
            )
        asked = a.was_asked() & b.was_asked()
        if not asked.any():
            raise DataError(f"{benchmark}/{task}: no question was asked of both {folder_a.name} and {folder_b.name}")
        values_a, values_b = per_answer(take(a, asked)), per_answer(take(b, asked))
        counts = len(asked), int((~asked).sum())
        for measure in values_a.keys() & values_b.keys():
            mine, other = values_a[measure], values_b[measure]
            difference = paired_bootstrap(mine.values, other.values, mine.groups, seed)
            means = float(np.mean(mine.values)), float(np.mean(other.values))
            found.append(Comparison(benchmark, task, measure, *means, mine.greater_is_better, difference, *counts))
    return tuple(sorted(found, key=lambda c: (c.benchmark, c.task, c.measure)))


def comparison_table(comparisons: tuple[Comparison, ...], name_a: str, name_b: str) -> Table:
    """The comparisons as a table for the terminal."""
    table = Table(title=f"{name_b} against {name_a}", title_justify="left")
    for heading in ("benchmark", "task", "measure", name_a, name_b, "difference, 95 %", "p", ""):
        table.add_column(heading, justify="left" if heading in ("benchmark", "task", "measure", "") else "right")
    for entry in comparisons:
        low, high = entry.found.interval
        table.add_row(
            entry.benchmark,
            entry.task,
            entry.measure,
            f"{entry.a:.3f}",
            f"{entry.b:.3f}",
            f"{entry.found.difference:+.3f} [{low:+.3f}, {high:+.3f}]",
            f"{entry.found.p_value:.3g}",
            _verdict(entry),
        )
    return table


def notes(comparisons: tuple[Comparison, ...]) -> list[str]:
    """One line for each table from which questions are left out because they were not asked of both."""
    left_out = {(c.benchmark, c.task): share(c.not_asked, c.questions) for c in comparisons if c.not_asked}
    return [
        f"{benchmark}, {task}: not asked: {found}: of one or of both, and left out of the comparison"
        for (benchmark, task), found in left_out.items()
    ]


def _tables(folder: Path) -> dict[tuple[str, str], Path]:
    """Files of answers by (benchmark, task)."""
    files = {(place.name, task): place / f"{task}.parquet" for task in SCORED for place in visible(folder.iterdir())}
    return {key: file for key, file in files.items() if file.is_file()}


def _listed(tables: Mapping[tuple[str, str], Path]) -> str:
    return ", ".join(sorted(f"{benchmark}/{task}" for benchmark, task in tables)) or "none"


def _verdict(entry: Comparison) -> str:
    low, high = entry.found.interval
    if low <= 0 <= high or entry.found.p_value >= SIGNIFICANT:
        return "no difference shown"
    return "better" if (entry.found.difference > 0) is entry.greater_is_better else "worse"


def _read(path: Path, task: str) -> AnswerTable:
    try:
        return from_arrow(SCORED[task].table, pq.read_table(path))
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: not a table of {task} answers: {error}") from None


def _same_questions(a: AnswerTable, b: AnswerTable) -> bool:
    """Whether two tables have the same items and truths in the same order; wordings may differ."""
    if len(a) != len(b):
        return False
    for name in question_columns(type(a)):
        mine, other = getattr(a, name), getattr(b, name)
        numbers = mine.dtype.kind == "f"
        if not (np.array_equal(mine, other, equal_nan=True) if numbers else np.array_equal(mine, other)):
            return False
    return True
