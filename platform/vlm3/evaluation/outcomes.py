"""What became of the questions: which could not be asked, which answers were cut or refused, which are no rotation."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vlm3.evaluation.tables import (
    AnswerTable,
    CorrespondenceTable,
    DepthTable,
    ObjectTable,
    PoseTable,
    TableT,
    Texts,
    take,
)
from vlm3.geometry.rigid import check_rigid

OUTSIDE, NOT_ASKED = "outside", "not asked"
"""Of a point or region that cannot be shown, and of a question about a pair that nobody meant to ask."""
LOST = ("unreadable", "cut", "refused")
"""Statuses of answers that count as unreadable, for one reason or another."""
ROUNDING = 1e-2
"""By how much R·Rᵀ of a predicted rotation may differ from the identity: bfloat16 has three digits."""


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
    status = statuses(sound(table))
    asked = status[status != NOT_ASKED]
    return Outcome(
        benchmark,
        table.task,
        questions=asked.size,
        not_asked=int((asked == OUTSIDE).sum()),
        unreadable=int(np.isin(asked, LOST).sum()),
        cut=int((asked == "cut").sum()),
        refused=int((asked == "refused").sum()),
        remark=_remark(table) if isinstance(table, PoseTable) else "",
    )


def was_asked(table: AnswerTable) -> NDArray[np.bool_]:
    """(N,) rows about what could be shown."""
    if isinstance(table, PoseTable):
        return np.ones(len(table), bool)
    shown: NDArray[np.bool_] = statuses(table) != OUTSIDE
    return shown


def asked_only(table: TableT) -> TableT:
    """The rows about what could be shown."""
    return take(table, was_asked(table))


def statuses(table: AnswerTable) -> Texts:
    """(N,) statuses; (N, 4) of poses."""
    match table:
        case DepthTable() | CorrespondenceTable() | PoseTable() | ObjectTable():
            return table.status
        case _:
            raise TypeError(f"no statuses of {type(table).__name__}")


def sound(table: TableT) -> TableT:
    """The table, a predicted pose whose rotation is none being unreadable as far as it turns."""
    if not isinstance(table, PoseTable) or not (wrong := _no_rotations(table)):
        return table
    rows = np.array(list(wrong))
    status, rotation, angle_deg = (
        table.status.copy(),
        table.predicted_cam1_R_cam2.copy(),
        table.predicted_angle_deg.copy(),
    )
    # What a text says of the angle stands by itself; only who predicts matrices can predict one that is no rotation.
    status[rows, :2] = np.where(status[rows, :2] == NOT_ASKED, NOT_ASKED, "unreadable")
    rotation[rows], angle_deg[rows] = np.nan, np.nan
    return replace(table, status=status, predicted_cam1_R_cam2=rotation, predicted_angle_deg=angle_deg)


def share(part: int, whole: int) -> str:
    """E.g. "12 of 400 (3 %)"."""
    percent = 100 * part / whole if whole else 0.0
    return f"{part} of {whole} ({'<1' if 0 < percent < 0.5 else f'{percent:.0f}'} %)"


def _remark(table: PoseTable) -> str:
    wrong = _no_rotations(table)
    if not wrong:
        return ""
    first = next(iter(wrong))
    return (
        f"{share(len(wrong), len(table))} predicted rotations are none, and count as unreadable; the first, of"
        f" {table.item[first]}: {wrong[first]}"
    )


def _no_rotations(table: PoseTable) -> dict[int, str]:
    """Row → why its predicted matrix is no rotation."""
    found = {}
    for row, rotation in enumerate(table.predicted_cam1_R_cam2):
        if np.isfinite(rotation).all():
            pose = np.eye(4)
            pose[:3, :3] = rotation
            if fault := check_rigid(pose, ROUNDING):
                found[row] = fault
    return found
