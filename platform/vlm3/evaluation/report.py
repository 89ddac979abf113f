"""Reports of scores for people and programs: terminal, Markdown, JSON."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from rich.table import Table

from vlm3.asking.tables import Headline
from vlm3.evaluation.outcomes import Outcome
from vlm3.tasks import SCORED

MODEL = "model"
"""Value of `Score.by` for the scores of the model itself, as opposed to the baselines."""


@dataclass(frozen=True, slots=True)
class Score:
    """One figure of one answerer on one benchmark."""

    benchmark: str
    task: str
    by: str
    """`model`, or the name of a baseline."""
    metric: str
    value: float
    low: float | None = None
    """Lower end of the 95 % bootstrap interval over images or scenes, if there is one; `high` is its upper end."""
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """Number of rows of a benchmark, and of those that were left out."""

    benchmark: str
    rows: int
    skipped: int
    """Number of bad rows that were left out, which the user allowed."""


@dataclass(frozen=True, slots=True)
class Report:
    """The result of an evaluation."""

    model: str
    coverage: tuple[Coverage, ...]
    scores: tuple[Score, ...]
    outcomes: tuple[Outcome, ...] = ()
    """Outcome of each table that was scored."""

    def notes(self) -> list[str]:
        """Lines on what the tables do not show: rows left out, and questions that were not asked or got no answer."""
        skipped = [f"{c.benchmark}: {c.skipped} bad rows of {c.rows} left out" for c in self.coverage if c.skipped]
        return [*skipped, *(note for outcome in self.outcomes for note in outcome.notes())]

    def to_json(self) -> str:
        """The report as JSON; a figure that is not finite is null."""
        plain = asdict(self)
        for score in plain["scores"]:
            for name in ("value", "low", "high"):
                if score[name] is not None and not math.isfinite(score[name]):
                    score[name] = None
        return json.dumps(plain, indent=2) + "\n"

    def to_markdown(self) -> str:
        """The report as Markdown."""
        parts = [f"# {self.model}\n"]
        for sheet in self._sheets():
            rule = "|".join(["---"] * len(sheet.headings))
            lines = [f"## {sheet.title}\n", f"| {' | '.join(sheet.headings)} |", f"|{rule}|"]
            lines += [f"| {' | '.join(cells)} |" for cells in sheet.rows]
            parts.append("\n".join(lines) + "\n")
        return "\n".join([*parts, *(f"* {note}" for note in self.notes())]) + "\n"

    def tables(self) -> list[Table]:
        """The report as tables for the terminal."""
        found = []
        for sheet in self._sheets():
            table = Table(title=sheet.title, title_justify="left")
            for number, heading in enumerate(sheet.headings):
                table.add_column(heading, justify="left" if number < 2 else "right")
            for cells in sheet.rows:
                table.add_row(*cells)
            found.append(table)
        return found

    def metrics(self) -> dict[str, float]:
        """The model's finite figures and its counts of outcomes by `benchmark/task/metric`."""
        mine = [score for score in self.scores if score.by == MODEL]
        figures = {f"{s.benchmark}/{s.task}/{s.metric}": s.value for s in mine if math.isfinite(s.value)}
        for found in self.outcomes:
            for name in ("not_asked", "cut", "refused"):
                figures[f"{found.benchmark}/{found.task}/{name}_count"] = float(getattr(found, name))
        return figures

    def _sheets(self) -> list["_Sheet"]:
        """One sheet for each task: benchmarks and answerers in rows, headline figures in columns."""
        sheets = []
        for task, room in SCORED.items():
            columns = room.table.headlines
            found = [score for score in self.scores if score.task == task]
            rows = [
                [benchmark, by, *(_cell(found, benchmark, by, column) for column in columns)]
                for benchmark, by in dict.fromkeys((score.benchmark, score.by) for score in found)
            ]
            if rows:
                sheets.append(_Sheet(task, ["benchmark", "answers of", *(c.heading for c in columns)], rows))
        return sheets


class _Sheet(NamedTuple):
    title: str
    headings: list[str]
    rows: list[list[str]]


def _cell(scores: Sequence[Score], benchmark: str, by: str, column: Headline) -> str:
    for score in scores:
        if (score.benchmark, score.by, score.metric) == (benchmark, by, column.metric):
            if not math.isfinite(score.value):
                return "–"
            text = format(score.value, column.form)
            if score.low is None or score.high is None or not math.isfinite(score.low + score.high):
                return text
            return f"{text} [{format(score.low, column.form)}, {format(score.high, column.form)}]"
    return "–"
