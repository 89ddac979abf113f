"""What a check of a source found: verdict, figure, and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a check ended, best first."""

    OK = "ok"
    CANNOT_TELL = "cannot tell"
    """The data at hand do not show it either way."""
    WARN = "warn"
    """Usable, but look at it."""
    FAIL = "fail"
    """Training on it would be training on errors."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of a source."""

    check: str
    verdict: Verdict
    figure: str
    """What was measured, in words and numbers."""
    advice: str = ""
    """What to do; empty where nothing is to be done."""
    value: float | None = None
    """The figure as one number, where it is one."""


def failed(findings: Iterable[Finding]) -> bool:
    """Whether a source must not be trained on."""
    return any(finding.verdict is Verdict.FAIL for finding in findings)


def graded(value: float, *, ok: float, fail: float) -> Verdict:
    """Verdict on a number that is better the higher it is: OK from `ok` up, FAIL below `fail`, WARN between."""
    return Verdict.OK if value >= ok else Verdict.FAIL if value < fail else Verdict.WARN
