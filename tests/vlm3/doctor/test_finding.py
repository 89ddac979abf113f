"""Verdicts add up to one: may this source be trained on?"""

import pytest

from vlm3.doctor.finding import Finding, Verdict, failed, graded


def test_a_source_fails_by_a_failed_check_and_by_nothing_else() -> None:
    passed = [Finding("x", verdict, "") for verdict in Verdict if verdict is not Verdict.FAIL]
    assert not failed(passed)
    assert failed([*passed, Finding("x", Verdict.FAIL, "")])


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(0.9, Verdict.OK), (0.8, Verdict.OK), (0.79, Verdict.WARN), (0.5, Verdict.WARN), (0.49, Verdict.FAIL)],
)
def test_grades_end_where_they_say(value: float, verdict: Verdict) -> None:
    assert graded(value, ok=0.8, fail=0.5) is verdict
    assert graded(float("nan"), ok=0.8, fail=0.5) is Verdict.WARN
