"""Angles, turns and directions, read strictly."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.asking.protocol import ParseFailure
from vlm3.geometry.rotation import YawPitchRoll
from vlm3.tasks.pose.parsing import WORDS, read_angle, read_direction, read_turns


@pytest.mark.parametrize(
    ("answer", "degrees"),
    [
        ("12.5", 12.5),
        (" 12.5 degrees.", 12.5),
        ("12.5°", 12.5),
        ("-3.0 deg", -3.0),
        ("+1.2e1", 12.0),
        (".5 Degree", 0.5),
        ("1.5 rad", math.degrees(1.5)),
        ("0 radians", 0.0),
    ],
)
def test_one_angle_is_read_in_degrees(answer: str, degrees: float) -> None:
    assert read_angle(answer) == pytest.approx(degrees, rel=1e-12)


@pytest.mark.parametrize(
    "answer", ["", "twelve", "12 13", "12,5", "1,234", "12 m", "12 gon", "about 12", "1e999", "nan", "12..", "1" * 99]
)
def test_anything_else_is_no_angle(answer: str) -> None:
    with pytest.raises(ParseFailure, match=r"expected one angle|unknown unit|not a finite"):
        read_angle(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "yaw 12.5, pitch -3.0, roll 0.5",
        "Yaw: 12.5°, Pitch: -3.0°, Roll: 0.5°.",
        "roll=0.5 deg, yaw=12.5 deg, pitch=-3 deg",
    ],
)
def test_turns_are_read_by_name_in_any_order(answer: str) -> None:
    assert read_turns(answer) == YawPitchRoll(12.5, -3.0, 0.5)


@pytest.mark.parametrize(
    "answer",
    [
        "12.5, -3.0, 0.5",
        "yaw 12.5, pitch -3.0",
        "yaw 12.5, pitch -3.0, yaw 0.5",
        "yaw 12.5, pitch -3.0, roll 0.5, roll 0.5",
        "yaw 12,5, pitch -3, roll 0",
        "yaw 12.5 pitch -3.0 roll 0.5",
        "yaw 12.5 m, pitch 1, roll 1",
        "",
    ],
)
def test_turns_without_their_names_are_not_guessed(answer: str) -> None:
    with pytest.raises(ParseFailure, match=r"expected 'yaw|unknown unit"):
        read_turns(answer)


def test_a_direction_is_read_with_its_words() -> None:
    found = read_direction("left and forward (-0.60, 0.00, 0.80)")
    assert found.words == {"left", "forward"} and found.vector == pytest.approx((-0.6, 0, 0.8))
    assert read_direction("Left, Up, Forward: (-1, -1, 1).").words == {"left", "up", "forward"}
    assert read_direction("(0, 0, -2)").vector == (0, 0, -1)


@pytest.mark.parametrize(
    "answer",
    [
        "left",
        "(0, 0, 0)",
        "(1, 0)",
        "(1, 0, 0, 0)",
        "(1e400, 0, 0)",
        "(1 m, 0, 0)",
        "1, 0, 0",
        "north (1, 0, 0)",
        "left, right (1, 0, 0)",
        "left, left (-1, 0, 0)",
        "left (1.0, 0, 0)",
        "(1, 0, 0) right",
    ],
)
def test_a_direction_that_is_unclear_or_contradicts_itself_is_refused(answer: str) -> None:
    with pytest.raises(ParseFailure):
        read_direction(answer)


@given(st.text(max_size=200))
def test_any_text_gives_a_finite_value_or_a_failure(text: str) -> None:
    for read in (read_angle, read_turns, read_direction):
        try:
            value = read(text)
        except ParseFailure:
            continue
        numbers = value if isinstance(value, tuple) else [value] if isinstance(value, float) else value.vector
        assert all(math.isfinite(number) for number in numbers)


@given(st.sampled_from(sorted(WORDS)), st.floats(0.01, 1))
def test_a_word_alone_agrees_with_a_vector_along_it(word: str, length: float) -> None:
    axis, sign = WORDS[word]
    values = [0.0, 0.0, 0.0]
    values[axis] = sign * length
    assert read_direction(f"{word} ({values[0]:.4f}, {values[1]:.4f}, {values[2]:.4f})").words == {word}


def test_words_that_a_pattern_finds_are_read_as_strictly() -> None:
    pattern = r"(?P<words>.*) \((?P<x>\S+) (?P<y>\S+) (?P<z>\S+)\)"
    assert read_direction("left/forward (-6 0 8)", pattern).words == {"left", "forward"}
    for words in ("left 5", "left?", "lef\N{LATIN SMALL LETTER T WITH CEDILLA}", "left, right"):
        with pytest.raises(ParseFailure, match="expected words"):
            read_direction(f"{words} (-6 0 8)", pattern)
