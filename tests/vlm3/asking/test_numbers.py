"""Answers read strictly: one length or nothing."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vlm3.asking.numbers import METRES_PER_UNIT, read_length
from vlm3.asking.protocol import ParseFailure


@pytest.mark.parametrize(
    ("answer", "metres"),
    [
        ("2.4", 2.4),
        (" 2.4\n", 2.4),
        ("2.4.", 2.4),
        ("2", 2.0),
        (".5", 0.5),
        ("0.0", 0.0),
        ("+3", 3.0),
        ("-1.5 m", -1.5),
        ("1.2e1", 12.0),
        ("5E-1 m", 0.5),
        ("2.4m", 2.4),
        ("2.4 Metres.", 2.4),
        ("85 cm", 0.85),
        ("1200MM", 1.2),
        ("0.3 km", 300.0),
        ("10 ft", 3.048),
        ("1 foot", 0.3048),
        ("12 inches", 0.3048),
    ],
)
def test_one_length_is_read_in_metres(answer: str, metres: float) -> None:
    assert read_length(answer) == pytest.approx(metres, rel=1e-12)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        ".",
        "m",
        "about 2",
        "2 or 3",
        "2-3 m",
        "2 3",
        "1,234",  # 1234 to some, 1.234 to others
        "1,5",
        "1 234",
        "5 ft 3 in",
        "5'3\"",
        "2..",
        "1.2.3",
        "--2",
        "2.4 meters away",
        "2.4 metres squared",
        "2 furlongs",
        "2 s",
        "two metres",
        "nan",
        "inf",
        "1e999",
        "1e308 km",
        "2e",
        "0x10",
        "1_000",
        "(3, 4)",
        "2\n3",
        "\N{ARABIC-INDIC DIGIT THREE}",
        "\N{FULLWIDTH DIGIT TWO}.5",
        "5 \N{KELVIN SIGN}m",  # lowers to "km"
        "2²",
        "½",
        "\ud800",
        "\x00",
        "7" * 65,
    ],
)
def test_anything_else_is_a_failure_that_says_why(answer: str) -> None:
    with pytest.raises(ParseFailure, match=r"expected one length|unknown unit|not a finite"):
        read_length(answer)


@given(st.floats(0, 1e6), st.integers(0, 4))
def test_reading_undoes_formatting_to_the_printed_precision(depth_m: float, decimals: int) -> None:
    printed = f"{depth_m:.{decimals}f}"
    assert read_length(printed) == float(printed)
    assert abs(read_length(printed) - depth_m) <= 0.5 * 10**-decimals + 1e-9


@given(st.floats(-1e6, 1e6), st.sampled_from(sorted(METRES_PER_UNIT)), st.sampled_from(["", " ", "\t"]))
def test_every_unit_is_read_in_any_case(value: float, unit: str, gap: str) -> None:
    expected = value * METRES_PER_UNIT[unit]
    for text in (f"{value!r}{gap}{unit}", f"{value!r}{gap}{unit.upper()}"):
        assert read_length(text) == pytest.approx(expected, rel=1e-12, abs=1e-300)


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.sampled_from([" ", ", ", "-", " to ", "/", "\n", "x"]))
def test_two_numbers_are_never_read_as_one(first: float, second: float, between: str) -> None:
    with pytest.raises(ParseFailure):
        read_length(f"{first:.2f}{between}{second:.2f}")


@given(st.text())
@example("9" * 64)
def test_any_text_gives_a_finite_length_or_a_failure(answer: str) -> None:
    try:
        value = read_length(answer)
    except ParseFailure as failure:
        assert len(str(failure)) < 1000
    else:
        assert abs(value) < float("inf")


@pytest.mark.parametrize(
    ("answer", "metres"),
    [("1,234", 1234.0), ("1,234.5 m", 1234.5), ("-12,345,678.25", -12345678.25), ("999", 999.0), ("1,000 cm", 10.0)],
)
def test_thousands_are_read_where_the_set_says_so(answer: str, metres: float) -> None:
    assert read_length(answer, thousands=True) == metres
    assert read_length(f"It is {answer}", pattern="is (?P<value>[-+0-9.,]+) ?(?P<unit>.*)", thousands=True) == metres


@pytest.mark.parametrize(
    "answer", ["1,23", "1,2345", "1234,567", "0,123", ",123", "1,234,5", "1,234e3", "1.234,5", "12,34,567", "1, 234"]
)
def test_commas_that_part_no_groups_of_three_are_not_guessed(answer: str) -> None:
    with pytest.raises(ParseFailure):
        read_length(answer, thousands=True)
    with pytest.raises(ParseFailure):
        read_length(answer, pattern="^(?P<value>.*)$", thousands=True)


@given(st.floats(0, 1e9), st.integers(0, 3))
def test_thousands_read_back_to_the_printed_precision(value: float, decimals: int) -> None:
    assert read_length(f"{value:,.{decimals}f}", thousands=True) == float(f"{value:.{decimals}f}")


@pytest.mark.parametrize(
    ("pattern", "answer"),
    [
        ("(?P<value>[0-9]+) (?P<unit>[a-z]+)", "2 furlongs"),
        ("(?P<value>[0-9]+) ?(?P<unit>.+)", "5 \N{KELVIN SIGN}m"),
        (r"(?P<value>\d+)", "\N{ARABIC-INDIC DIGIT THREE}"),
        ("(?P<value>[a-z]+)", "inf"),
        ("(?P<value>[0-9]+)?m", "m"),
        ("(?P<value>.+)", "1e999"),
        ("(?P<value>.+) (?P<unit>km)", "1e308 km"),
    ],
)
def test_what_a_pattern_finds_is_read_as_strictly(pattern: str, answer: str) -> None:
    with pytest.raises(ParseFailure, match=r"unknown unit|not a finite"):
        read_length(answer, pattern)
