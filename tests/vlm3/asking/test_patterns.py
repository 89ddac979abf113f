"""A user's regular expression: found once and whole, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from vlm3.asking.patterns import MAX_ANSWER_CHARACTERS, MAX_PATTERN_CHARACTERS, Pattern, check_groups, find_once
from vlm3.asking.protocol import ParseFailure

VALUE = r"(?P<value>[0-9.]+) ?(?P<unit>[a-z]+)?"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("2.5 m", {"value": "2.5", "unit": "m"}),
        ("It is 2.5", {"value": "2.5"}),
        ("(2.5)", {"value": "2.5"}),
        ("d=2.5m!", {"value": "2.5", "unit": "m"}),
    ],
)
def test_groups_are_found_anywhere_in_the_answer(answer: str, found: dict[str, str]) -> None:
    assert find_once(VALUE, answer) == found


@pytest.mark.parametrize(
    "answer", ["", "near", "2.5 m or 3 m", "2.5 m, yes, 2.5 m", "2 m" + " " * MAX_ANSWER_CHARACTERS]
)
def test_no_match_several_or_too_long_an_answer_is_a_failure(answer: str) -> None:
    with pytest.raises(ParseFailure, match="expected"):
        find_once(VALUE, answer)


@pytest.mark.parametrize(
    ("pattern", "answer"),
    [
        (r"(?P<value>[0-9]+) m", "2.5 m"),
        (r"(?P<value>[0-9.]+) m", "1,234.5 m"),
        (r"(?P<value>[0-9.]+) m", "1 234 m"),
        (r"(?P<value>[0-9.]+) m", "-2.5 m"),
        (r"(?P<value>[0-9.]+) m", "\N{MINUS SIGN}2.5 m"),
        (r"(?P<value>-?[0-9.]+) m", "2-3 m"),
        (r"(?P<value>[0-9.]+) m", "2\N{EN DASH}3 m"),
        (r"(?P<value>[0-9.]+) m", "1/2 m"),
        (r"is (?P<value>[0-9]+)", "is 2.5"),
        (r"is (?P<value>[0-9]+)", "is 2,5"),
        (r"is (?P<value>[0-9.]+)", "is 2e5"),
        (r"is (?P<value>[0-9.]+)", "is 2-3"),
        (r"is (?P<value>[0-9.]+)", "is 1 234"),
        (r"is (?P<value>[0-9])", "is 25"),
        (r"(?P<value>[0-9]+) (?P<unit>m)", "25 mm"),
        (r"(?P<value>[0-9]+) (?P<unit>m)", "25 m2"),
    ],
)
def test_a_part_of_a_number_or_unit_is_not_taken_for_the_number(pattern: str, answer: str) -> None:
    with pytest.raises(ParseFailure, match="part of a longer number"):
        find_once(pattern, answer)


@given(
    st.floats(0.01, 1e5),
    st.sampled_from(["", " ", "about ", "z: ", "in image 2, "]),
    st.sampled_from(["", ".", " m", ", ok"]),
)
def test_a_whole_number_is_found_with_all_its_digits(value: float, before: str, after: str) -> None:
    assert find_once(r"(?P<value>[0-9]+\.[0-9]+)", f"{before}{value:.3f}{after}") == {"value": f"{value:.3f}"}


@given(st.text(max_size=300))
def test_any_text_gives_groups_or_a_failure(answer: str) -> None:
    try:
        found = find_once(VALUE, answer)
    except ParseFailure:
        return
    assert found["value"] in answer


@pytest.mark.parametrize("pattern", ["(", "(?P<value>[0-9]+", "*", "", "x" * (MAX_PATTERN_CHARACTERS + 1), "(?P<1>x)"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Pattern).validate_python(pattern)


def test_groups_are_checked_by_name() -> None:
    check_groups(VALUE, {"value"}, {"unit"})
    check_groups(r"(?P<value>[0-9]+)( m)?", {"value"}, {"unit"})
    check_groups(None, {"value"})
    with pytest.raises(ValueError, match=r"groups value and may have unit; it has \['x'\]"):
        check_groups("(?P<x>[0-9]+)", {"value"}, {"unit"})
    with pytest.raises(ValueError, match="it has"):
        check_groups(VALUE, {"value"})
