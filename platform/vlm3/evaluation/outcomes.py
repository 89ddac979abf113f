"""Outcomes of the questions: how many could not be asked, and how many answers were unreadable, cut or refused."""

from dataclasses import dataclass

import numpy as np

from vlm3.asking.tables import LOST, NOT_ASKED, OUTSIDE, AnswerTable, TableT, share, take


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcomes of the questions of one task on one benchmark, counted."""

    benchmark: str
    task: str
    questions: int
    not_asked: int
    """Number of them whose point has no ray or is outside the unified image. They are not scored."""
    unreadable: int
    """Number of answers without a value, for any reason; they count as wrong. They include `cut` and `refused`."""
    cut: int
    """Number of answers that reached the bound on their tokens before they ended."""
    refused: int
    """Number of questions that the server refuses to answer, also when asked again."""
    remark: str = ""
    """Remark on answers that cannot be right, e.g. predictions that are not rotations; empty if there is none."""

    def notes(self) -> list[str]:
        """One line for each fact that a reader of the scores must know."""
        where = f"{self.benchmark}, {self.task}"
        asked = self.questions - self.not_asked
        found = []
        if self.not_asked:
            found.append(
                f"{where}: not asked: {share(self.not_asked, self.questions)}: the lens has no ray there, or the"
                " unified image does not hold it; not scored"
            )
        if self.cut:
            found.append(
                f"{where}: cut: {share(self.cut, asked)}: answers that had not ended within their bound of tokens, and"
                " count as unreadable; where the model says more before its answer, set answer_tokens in --ask"
            )
        if self.refused:
            found.append(
                f"{where}: refused: {share(self.refused, asked)}: questions that the server does not answer, and that"
                " count as unreadable; the log says why"
            )
        return [*found, *([f"{where}: {self.remark}"] if self.remark else [])]


def outcome(benchmark: str, table: AnswerTable) -> Outcome:
    """Count the outcomes of a table's questions."""
    status = table.sound().statuses
    asked = status[status != NOT_ASKED]
    return Outcome(
        benchmark,
        table.task,
        questions=asked.size,
        not_asked=int((asked == OUTSIDE).sum()),
        unreadable=int(np.isin(asked, LOST).sum()),
        cut=int((asked == "cut").sum()),
        refused=int((asked == "refused").sum()),
        remark=table.remark(),
    )


def asked_only(table: TableT) -> TableT:
    """The rows whose questions could be asked."""
    return take(table, table.was_asked())
