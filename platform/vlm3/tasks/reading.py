"""Lengths read from answers: strict, unit-aware, never a guess."""

import math
import re

from vlm3.tasks.protocol import ParseFailure

METRES_PER_UNIT = {
    "": 1.0, "m": 1.0, "meter": 1.0, "meters": 1.0, "metre": 1.0, "metres": 1.0,
    "cm": 0.01, "centimeter": 0.01, "centimeters": 0.01, "centimetre": 0.01, "centimetres": 0.01,
    "mm": 0.001, "millimeter": 0.001, "millimeters": 0.001, "millimetre": 0.001, "millimetres": 0.001,
    "km": 1000.0, "kilometer": 1000.0, "kilometers": 1000.0, "kilometre": 1000.0, "kilometres": 1000.0,
    "ft": 0.3048, "foot": 0.3048, "feet": 0.3048, "in": 0.0254, "inch": 0.0254, "inches": 0.0254,
}  # fmt: skip
MAX_CHARACTERS = 64
# ASCII on purpose: the Kelvin sign would lower to a "k", and other scripts' digits have to be meant to be read.
NUMBER = r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:e[+-]?[0-9]+)?)"
_LENGTH = re.compile(rf"{NUMBER}[ \t]*(?P<unit>[a-z]*)\.?", re.ASCII | re.IGNORECASE)
_PLACE = re.compile(r"(?P<open>\(?) *(?P<x>[0-9]{1,7}) *, *(?P<y>[0-9]{1,7}) *(?P<close>\)?)\.?", re.ASCII)


def read_place(answer: str) -> tuple[int, int]:
    """Names of x and y that an answer states: two whole numbers with a comma between, in parentheses or not.

    Raises:
        ParseFailure: it is not exactly one place.
    """
    match = _PLACE.fullmatch(answer.strip())
    if match is None or bool(match["open"]) != bool(match["close"]):
        raise ParseFailure(f"expected one place such as '(120, 46)', found {answer[:80]!r}")
    return int(match["x"]), int(match["y"])


def read_length(answer: str) -> float:
    """Metres that an answer states: one number with at most one unit, nothing else; a bare number is metres.

    A sign, an exponent (`1.2e1`), upper case and a closing full stop are read; `1,234` is not, since it is 1234 to some
    and 1.234 to others.

    Raises:
        ParseFailure: no number, several, an unknown unit, other words, or not finite.
    """
    text = answer.strip()
    match = _LENGTH.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    if match is None:
        raise ParseFailure(f"expected one length such as '2.4' or '85 cm', found {answer[:80]!r}")
    unit = match["unit"].lower()
    if unit not in METRES_PER_UNIT:
        raise ParseFailure(f"unknown unit {unit!r} in {answer!r}; known: m, cm, mm, km, ft, in")
    value = float(match["number"]) * METRES_PER_UNIT[unit]
    if not math.isfinite(value):
        raise ParseFailure(f"{answer!r} is not a finite length")
    return value
