"""Lengths and places read from answers: strict, unit-aware, never a guess."""

import math
import re

from vlm3.asking.patterns import find_once
from vlm3.asking.protocol import ParseFailure
from vlm3.scenes.checks import MAX_DEPTH_M

METRES_PER_UNIT = {
    "": 1.0, "m": 1.0, "meter": 1.0, "meters": 1.0, "metre": 1.0, "metres": 1.0,
    "cm": 0.01, "centimeter": 0.01, "centimeters": 0.01, "centimetre": 0.01, "centimetres": 0.01,
    "mm": 0.001, "millimeter": 0.001, "millimeters": 0.001, "millimetre": 0.001, "millimetres": 0.001,
    "km": 1000.0, "kilometer": 1000.0, "kilometers": 1000.0, "kilometre": 1000.0, "kilometres": 1000.0,
    "ft": 0.3048, "foot": 0.3048, "feet": 0.3048, "in": 0.0254, "inch": 0.0254, "inches": 0.0254,
}  # fmt: skip
MAX_CHARACTERS = 64
MAX_LENGTH_M = 10 * MAX_DEPTH_M
"""Longest length that an answer may state. δ3 accepts nearly twice the deepest label, and along the ray a label may be
longer still; ten times as far is not a measurement but a slip, e.g. a repeated digit."""
# ASCII, so that the Kelvin sign does not match "k" and digits of other scripts are not read as numbers.
_BARE = r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:e[+-]?[0-9]+)?"
_GROUPED = r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]+)?"
NUMBER = rf"(?P<number>{_BARE})"
_UNIT = r"[ \t]*(?P<unit>[a-z]*)\.?"
_LENGTH = re.compile(NUMBER + _UNIT, re.ASCII | re.IGNORECASE)
_LENGTH_OF_THOUSANDS = re.compile(rf"(?P<number>{_GROUPED}|{_BARE}){_UNIT}", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(_BARE, re.ASCII | re.IGNORECASE)
_NUMBER_OF_THOUSANDS = re.compile(_GROUPED, re.ASCII)
_NAME = re.compile(r"[0-9]{1,7}", re.ASCII)
_PLACE = re.compile(r"(?P<open>\(?) *(?P<x>[0-9]{1,7}) *, *(?P<y>[0-9]{1,7}) *(?P<close>\)?)\.?", re.ASCII)


def read_place(answer: str, pattern: str | None = None) -> tuple[int, int]:
    """The names of x and y in an answer: two whole numbers with a comma between, with or without parentheses.

    Args:
        answer: without tags.
        pattern: finds the numbers instead, by its groups `x` and `y`.

    Raises:
        ParseFailure: the answer is not exactly one place.
    """
    if pattern is not None:
        found = find_once(pattern, answer)
        names = [_NAME.fullmatch(found.get(axis, "").strip()) for axis in "xy"]
        if names[0] is None or names[1] is None:
            raise ParseFailure(f"expected two whole numbers, found {found} in {answer[:80]!r}")
        return int(names[0][0]), int(names[1][0])
    match = _PLACE.fullmatch(answer.strip())
    if match is None or bool(match["open"]) != bool(match["close"]):
        raise ParseFailure(f"expected one place such as '(120, 46)', found {answer[:80]!r}")
    return int(match["x"]), int(match["y"])


def read_length(answer: str, pattern: str | None = None, thousands: bool = False) -> float:
    """The length in metres in an answer: one number with at most one unit, nothing else; a bare number is metres.

    A sign, an exponent (`1.2e1`), upper case and a closing full stop are accepted; `1,234` is accepted only with
    `thousands`, since it may mean 1234 or 1.234.

    Args:
        answer: without tags.
        pattern: finds the number and the unit instead, by its groups `value` and, where it has one, `unit`.
        thousands: whether commas may separate groups of three digits.

    Raises:
        ParseFailure: no number, several numbers, an unknown unit, other words, or a number that is not finite.
    """
    if pattern is not None:
        found = find_once(pattern, answer)
        number, unit = read_number(found.get("value", ""), thousands), found.get("unit", "").strip()
    else:
        text = answer.strip()
        shape = _LENGTH_OF_THOUSANDS if thousands else _LENGTH
        match = shape.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
        if match is None:
            raise ParseFailure(f"expected one length such as '2.4' or '85 cm', found {answer[:80]!r}")
        number, unit = read_number(match["number"], thousands), match["unit"]
    if not unit.isascii() or unit.lower() not in METRES_PER_UNIT:
        raise ParseFailure(f"unknown unit {unit!r} in {answer[:80]!r}; known: m, cm, mm, km, ft, in")
    value = number * METRES_PER_UNIT[unit.lower()]
    if not math.isfinite(value):
        raise ParseFailure(f"{answer[:80]!r} is not a finite length")
    return value


def read_extent(answer: str, pattern: str | None = None, thousands: bool = False) -> float:
    """The depth or size in metres in an answer: above 0 and at most 10 km. Arguments as for `read_length`.

    Raises:
        ParseFailure: the answer is not exactly one length, or the length is out of this range.
    """
    metres = read_gap(answer, pattern, thousands)
    if metres == 0:
        raise ParseFailure(f"expected a length above 0, found {answer[:80]!r}")
    return metres


def read_gap(answer: str, pattern: str | None = None, thousands: bool = False) -> float:
    """The distance in metres in an answer: at least 0 and at most 10 km. Arguments as for `read_length`.

    It is 0 between things that touch, and for a camera that only turned.

    Raises:
        ParseFailure: the answer is not exactly one length, or the length is out of this range.
    """
    metres = read_length(answer, pattern, thousands)
    if not 0 <= metres <= MAX_LENGTH_M:
        raise ParseFailure(f"expected a length from 0 to {MAX_LENGTH_M:g} m, found {answer[:80]!r}")
    return metres


def read_number(text: str, thousands: bool = False) -> float:
    """The number in a text that holds nothing else.

    Args:
        text: the number, with or without blanks around it.
        thousands: whether commas may separate groups of three digits.

    Raises:
        ParseFailure: the text is not a number, or the number is not finite.
    """
    text = text.strip()
    if thousands and _NUMBER_OF_THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    if _NUMBER.fullmatch(text) is None or not math.isfinite(value := float(text)):
        raise ParseFailure(f"{text[:80]!r} is not a finite number")
    return value
