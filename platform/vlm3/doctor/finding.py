"""Result of a check of a source: verdict, figure and advice."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Verdict of a check, best first."""

    OK = "ok"
    CANNOT_TELL = "cannot tell"
    """The data at hand do not show whether it is right."""
    WARN = "warn"
    """Usable, but worth a look."""
    FAIL = "fail"
    """Not usable: a model would be trained on errors."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check of a source."""

    check: str
    verdict: Verdict
    figure: str
    """Measurement in words and numbers."""
    advice: str = ""
    """What to do; empty if there is nothing to do."""
    value: float | None = None
    """The figure as one number, if it has one."""


def failed(findings: Iterable[Finding]) -> bool:
    """Whether any check failed, so that the source must not be used for training."""
    return any(finding.verdict is Verdict.FAIL for finding in findings)


def graded(value: float, *, ok: float, fail: float) -> Verdict:
    """Verdict on a number for which higher is better: OK from `ok` up, FAIL below `fail`, WARN between."""
    return Verdict.OK if value >= ok else Verdict.FAIL if value < fail else Verdict.WARN
