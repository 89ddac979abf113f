"""Answers about objects, read strictly."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.asking.protocol import ParseFailure
from vlm3.tasks.objects.parsing import read_choice, read_clock, read_yes_no

NO_REGION = (
    *("", "0", "3", "12", "region", "region 0", "region [1]", "region one", "region  1", "region 1 is lower"),
    *("1 or 2", "both", "1.0", "the third", "the 1", "first second", "-1", "١", "1..", "no"),
)
NO_HOUR = (
    *("", "0", "00", "003", "13", "15", "-3", "3.5", "1e1", "٣", "three", "2 or 3", "3:00", "3:30", "3 pm", "3 clock"),
    *("3 o'cloc\u212a", "at 3 o'clock", "3 o'clock direction"),
)


@pytest.mark.parametrize(("answer", "yes"), [("yes", True), (" Yes.", True), ("NO", False), ("no.\n", False)])
def test_a_bare_yes_or_no_is_read(answer: str, yes: bool) -> None:
    assert read_yes_no(answer) is yes


@pytest.mark.parametrize(
    "answer", ["", "y", "yes no", "yes, it is", "not", "no..", "true", "1", "nope", "yes!", "ye s", "yeſ"]
)
def test_anything_else_is_neither_yes_nor_no(answer: str) -> None:
    with pytest.raises(ParseFailure, match="expected 'yes' or 'no'"):
        read_yes_no(answer)


@pytest.mark.parametrize("form", ["{number}", "region {number}", "Region {number}.", " {number}. "])
@pytest.mark.parametrize("number", [1, 2])
def test_a_region_is_read_by_its_number(form: str, number: int) -> None:
    assert read_choice(form.format(number=number)) == number


@pytest.mark.parametrize("form", ["{word}", "the {word}", "The {word} region.", "{word} region", "the {word} one"])
@pytest.mark.parametrize(("word", "number"), [("first", 1), ("Second", 2)])
def test_a_region_is_read_by_its_ordinal(form: str, word: str, number: int) -> None:
    assert read_choice(form.format(word=word)) == number


@pytest.mark.parametrize("answer", NO_REGION)
def test_no_region_is_guessed(answer: str) -> None:
    with pytest.raises(ParseFailure, match="expected 'region 1' or 'region 2'"):
        read_choice(answer)


@pytest.mark.parametrize("form", ["{hour}", "{hour} o'clock", "{hour:02d}", "{hour} O’Clock.", " {hour}o'clock"])
@pytest.mark.parametrize("hour", range(1, 13))
def test_an_hour_is_read(form: str, hour: int) -> None:
    assert read_clock(form.format(hour=hour)) == hour


@pytest.mark.parametrize("answer", NO_HOUR)
def test_no_hour_is_guessed(answer: str) -> None:
    with pytest.raises(ParseFailure, match="expected an hour"):
        read_clock(answer)


@given(st.sampled_from([read_yes_no, read_choice, read_clock]), st.text(max_size=200))
def test_any_text_is_read_whole_or_refused(read: Callable[[str], int], text: str) -> None:
    try:
        value = read(text)
    except ParseFailure as failure:
        assert len(str(failure)) < 500
    else:
        assert value in range(13)
        with pytest.raises(ParseFailure):
            read(f"{text} {text}")
