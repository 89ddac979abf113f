"""Lengths read from answers: strict, unit-aware, never a guess."""

import re

from vlm3.tasks.protocol import ParseFailure

METRES_PER_UNIT = {
    "": 1.0, "m": 1.0, "meter": 1.0, "meters": 1.0, "metre": 1.0, "metres": 1.0,
    "cm": 0.01, "centimeter": 0.01, "centimeters": 0.01, "centimetre": 0.01, "centimetres": 0.01,
    "mm": 0.001, "millimeter": 0.001, "millimeters": 0.001, "millimetre": 0.001, "millimetres": 0.001,
    "km": 1000.0, "kilometer": 1000.0, "kilometers": 1000.0, "kilometre": 1000.0, "kilometres": 1000.0,
    "ft": 0.3048, "foot": 0.3048, "feet": 0.3048, "in": 0.0254, "inch": 0.0254, "inches": 0.0254,
}  # fmt: skip
_LENGTH = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)\s*([a-z]*)\.?", re.ASCII)
MAX_CHARACTERS = 64


def read_length(answer: str) -> float:
    """Metres that an answer states: one number with at most one unit, nothing else; a bare number is metres.

    Raises:
        ParseFailure: several numbers, thousands separators, unknown units, other words, or not finite.
    """
    text = answer.strip().lower()
    match = _LENGTH.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    if match is None:
        raise ParseFailure(f"expected one length such as '2.4' or '85 cm', found {answer[:80]!r}")
    number, unit = match.groups()
    if unit not in METRES_PER_UNIT:
        raise ParseFailure(f"unknown unit {unit!r} in {answer!r}; known: m, cm, mm, km, ft, in")
    value = float(number) * METRES_PER_UNIT[unit]
    if value in (float("inf"), float("-inf")):
        raise ParseFailure(f"{answer!r} is not a finite length")
    return value
