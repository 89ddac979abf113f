"""Wordings of questions and forms of answers: the fields they use, and whether an answer reads back."""

from collections.abc import Callable, Iterable, Mapping, Set
from functools import partial
from string import Formatter
from typing import Annotated

from pydantic import Field

from vlm3.asking.numbers import read_length
from vlm3.asking.patterns import check_groups
from vlm3.asking.protocol import ParseFailure

Wordings = Annotated[tuple[str, ...], Field(min_length=1)]
NEAR_M, FAR_M = 2.0, 3000.0
"""Lengths on which forms of answers are tried: exact at any precision, and the far one shows thousands."""
LONG_M = (FAR_M, FAR_M / 9, 1 / 30_000)
"""Lengths whose texts are long: whole metres, all digits where there is no format, and an exponent."""
SOME_NUMBERS = (0, 7, 48, 163, 1999)
"""Coordinates and tenths of metres in example texts."""
FOCAL = frozenset({"focal"})
"""The field that any question about metres may use: the unified focal length, in whole pixels."""


def fields_of(wording: str) -> set[str]:
    """Names of the fields, which stand in braces. Raises ValueError where braces do not match."""
    return {name for _, name, _, _ in Formatter().parse(wording) if name is not None}


def literals_of(wording: str) -> list[str]:
    """Text between the fields."""
    return [text for text, _, _, _ in Formatter().parse(wording)]


def check_fields(wording: str, wanted: Set[str], optional: Set[str] = frozenset()) -> None:
    """Refuse a wording that lacks a wanted field, or has a field that is neither wanted nor optional.

    Raises:
        ValueError: such a wording; the message names the fields.
    """
    fields = fields_of(wording)
    if not wanted <= fields <= wanted | optional:
        listed = "the fields " + " ".join(f"{{{name}}}" for name in sorted(wanted)) if wanted else "no field"
        may = f" (and may use {' '.join(f'{{{name}}}' for name in sorted(optional))})" if optional else ""
        raise ValueError(f"wording {wording!r} must use {listed}{may}, it uses {sorted(fields)}")


def check_read(answer: str, values: Mapping[str, object], read: Callable[[str], object], expected: object) -> None:
    """Refuse a form of answer that does not read back as the value that it states.

    Raises:
        ValueError: such a form; the message has an example of its answers.
    """
    example = answer.format(**values)
    try:
        understood = read(example)
    except ParseFailure as failure:
        raise ValueError(f"answer {answer!r} gives {example!r}, which cannot be read: {failure}") from None
    if understood != expected:
        raise ValueError(f"answer {answer!r} gives {example!r}, which reads as {understood}")


def name_focal(wordings: Iterable[str]) -> bool:
    """Whether all wordings name the focal length."""
    return all("focal" in fields_of(wording) for wording in wordings)


def check_length(answer: str, pattern: str | None) -> None:
    """Refuse a form of answer that does not read back as the length that it states.

    Raises:
        ValueError: such a form; the message has an example of its answers.
    """
    check_fields(answer, {"metres"})
    check_groups(pattern, {"value"}, {"unit"})
    for metres in (NEAR_M, FAR_M):
        # The set decides about commas between thousands, and is not known here.
        check_read(answer, {"metres": metres}, partial(read_length, pattern=pattern, thousands=True), metres)
