"""What became of the questions: which could not be asked, and which answers were cut or refused."""

from dataclasses import dataclass

import numpy as np

from vlm3.asking.tables import LOST, NOT_ASKED, OUTSIDE, AnswerTable, TableT, share, take


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the questions of one task on one benchmark."""

    benchmark: str
    task: str
    questions: int
    not_asked: int
    """Of them: the lens has no ray where the point is, or the unified image does not hold it. They are not scored."""
    unreadable: int
    """Answers without a value, whatever the reason; wrong in every score. So are the next two, which are among them."""
    cut: int
    """Had not ended when they had as many tokens as they may have."""
    refused: int
    """A server does not answer these, however often it is asked."""
    remark: str = ""
    """On predictions that are no rotations."""

    def notes(self) -> list[str]:
        """A line for each thing that a reader of the scores has to know."""
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
    """Count what became of a table's questions."""
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
    """The rows about what could be shown."""
    return take(table, table.was_asked())
