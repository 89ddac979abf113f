"""Angles, turns and directions read from answers: strict, unit-aware, never a guess."""

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

from vlm3.asking.numbers import MAX_CHARACTERS, NUMBER, read_number
from vlm3.asking.patterns import find_once
from vlm3.asking.protocol import ParseFailure
from vlm3.geometry.rotation import YawPitchRoll

DEGREES_PER_UNIT = {"": 1.0, "deg": 1.0, "degree": 1.0, "degrees": 1.0, "°": 1.0} | dict.fromkeys(
    ("rad", "radian", "radians"), 180 / math.pi
)
_ANGLE = rf"{NUMBER}[ \t]*(?P<unit>[a-z°]*)"
_ALONE = re.compile(rf"{_ANGLE}\.?", re.ASCII | re.IGNORECASE)
_NAMED = re.compile(rf"[ \t]*(?P<name>yaw|pitch|roll)[ \t]*[:=]?[ \t]*{_ANGLE}[ \t]*\.?", re.ASCII | re.IGNORECASE)
_VECTOR = re.compile(
    r"(?P<words>[a-z, \t]*?)[ \t:;]*\((?P<x>[^,()]+),(?P<y>[^,()]+),(?P<z>[^,()]+)\)\.?", re.ASCII | re.IGNORECASE
)
_PLAIN = re.compile(rf"[ \t]*{NUMBER}[ \t]*", re.ASCII | re.IGNORECASE)
_LISTED = re.compile(r"[a-z,/;: \t-]*", re.ASCII | re.IGNORECASE)
WORDS = {"right": (0, 1), "left": (0, -1), "down": (1, 1), "up": (1, -1), "forward": (2, 1), "backward": (2, -1)}
"""Word → axis and sign in OpenCV axes."""


class Vector(NamedTuple):
    """A unit vector in OpenCV axes: right, down, forward."""

    x: float
    y: float
    z: float


@dataclass(frozen=True, slots=True)
class Direction:
    """The direction in which a camera has moved."""

    words: frozenset[str]
    """Keys of `WORDS`."""
    vector: Vector


def read_angle(answer: str, pattern: str | None = None) -> float:
    """The angle in degrees in an answer: one number with at most one unit; a bare number is degrees.

    Args:
        answer: without tags.
        pattern: finds the number of degrees instead, by its group `degrees`.

    Raises:
        ParseFailure: no number, several numbers, an unknown unit, other words, or a number that is not finite.
    """
    if pattern is not None:
        return read_number(find_once(pattern, answer).get("degrees", ""))
    match = _ALONE.fullmatch(answer.strip()) if len(answer) <= MAX_CHARACTERS else None
    if match is None:
        raise ParseFailure(f"expected one angle such as '12.5' or '12.5 degrees', found {answer[:80]!r}")
    return _degrees(match, answer)


def read_turns(answer: str, pattern: str | None = None) -> YawPitchRoll:
    """Yaw, pitch and roll in an answer, each after its name, with commas between, in any order.

    Args:
        answer: without tags.
        pattern: finds the numbers of degrees instead, by its groups `yaw`, `pitch` and `roll`.

    Raises:
        ParseFailure: a name is missing or comes twice, or its angle cannot be read.
    """
    if pattern is not None:
        named = find_once(pattern, answer)
        yaw, pitch, roll = (read_number(named.get(name, "")) for name in ("yaw", "pitch", "roll"))
        return YawPitchRoll(yaw, pitch, roll)
    found: dict[str, float] = {}
    for part in answer.split(",") if len(answer) <= 2 * MAX_CHARACTERS else ():
        match = _NAMED.fullmatch(part)
        if match is None or match["name"].lower() in found:
            found = {}
            break
        found[match["name"].lower()] = _degrees(match, answer)
    if len(found) != 3:
        raise ParseFailure(f"expected 'yaw 1.5, pitch -2.0, roll 0.3', found {answer[:80]!r}")
    return YawPitchRoll(found["yaw"], found["pitch"], found["roll"])


def read_direction(answer: str, pattern: str | None = None) -> Direction:
    """The direction in an answer: words of `WORDS`, or none, and a vector (x, y, z), which is normalised.

    Args:
        answer: without tags.
        pattern: finds the numbers and words instead, by its groups `x`, `y`, `z` and, where it has one, `words`.

    Raises:
        ParseFailure: no such vector, another word, words that exclude each other, or words that the vector contradicts.
    """
    if pattern is not None:
        found = find_once(pattern, answer)
    else:
        match = _VECTOR.fullmatch(answer.strip()) if len(answer) <= 2 * MAX_CHARACTERS else None
        found = match.groupdict() if match else {}
    parts = [_PLAIN.fullmatch(found.get(axis, "")) for axis in "xyz"]
    values = [float(part["number"]) for part in parts if part is not None]
    length = math.hypot(*values) if len(values) == 3 else 0.0
    if not 0 < length < math.inf:
        raise ParseFailure(f"expected a direction such as 'left, forward (-0.60, 0.00, 0.80)', found {answer[:80]!r}")
    named = _listed(found.get("words", ""))
    for word in named:
        axis, sign = WORDS[word]
        if values[axis] * sign < 0:
            raise ParseFailure(f"{word!r} contradicts the vector of {answer[:80]!r}")
    return Direction(named, Vector(*(value / length for value in values)))


def _listed(text: str) -> frozenset[str]:
    """Words of `WORDS` in a text, without "and"; at most one for each axis."""
    words = re.findall(r"[a-z]+", text.lower())
    named = frozenset(word for word in words if word != "and")
    axes = [WORDS[word][0] for word in named if word in WORDS]
    unclear = len(axes) != len(named) or len(set(axes)) != len(axes) or len(words) - words.count("and") != len(named)
    if unclear or not _LISTED.fullmatch(text):
        raise ParseFailure(f"expected words of {', '.join(WORDS)}, one an axis, found {text[:80]!r}")
    return named


def _degrees(match: re.Match[str], answer: str) -> float:
    unit = match["unit"].lower()
    if unit not in DEGREES_PER_UNIT:
        raise ParseFailure(f"unknown unit {unit!r} in {answer[:80]!r}; known: degrees, rad")
    value = float(match["number"]) * DEGREES_PER_UNIT[unit]
    if not math.isfinite(value):
        raise ParseFailure(f"{answer[:80]!r} is not a finite angle")
    return value
