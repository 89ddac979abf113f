"""Answers about objects, read strictly, never guessed: yes or no, one of two regions, an hour of the clock."""

import re
from typing import Literal

from vlm3.asking.numbers import MAX_CHARACTERS
from vlm3.asking.protocol import ParseFailure

YES, NO = "yes", "no"
_CHOICE = re.compile(
    r"(?:(?:the )?(?P<ordinal>first|second)(?: (?:region|one))?|(?:region )?(?P<number>[12]))\.?",
    re.ASCII | re.IGNORECASE,
)
_CLOCK = re.compile(r"(?P<hour>0?[1-9]|1[0-2])(?: ?o['’]clock)?\.?", re.ASCII | re.IGNORECASE)


def read_yes_no(answer: str) -> bool:
    """Whether an answer says yes: the bare word, in any case, with a closing full stop or not.

    Raises:
        ParseFailure: the answer says anything else, or more.
    """
    word = answer.strip().lower().removesuffix(".")
    if word not in (YES, NO):
        raise ParseFailure(f"expected 'yes' or 'no', found {answer[:80]!r}")
    return word == YES


def read_choice(answer: str) -> Literal[1, 2]:
    """Which of two regions an answer names: "region 1", "1", "the first", "first region", "the first one".

    Names that count from zero, such as "region 0" or "region [1]", are not read.

    Raises:
        ParseFailure: the answer names no region or both, or says more.
    """
    match = _CHOICE.fullmatch(answer.strip()) if len(answer) <= MAX_CHARACTERS else None
    if match is None:
        raise ParseFailure(f"expected 'region 1' or 'region 2', found {answer[:80]!r}")
    return 1 if match["number"] == "1" or (match["ordinal"] or "").lower() == "first" else 2


def read_clock(answer: str) -> int:
    """The hour, 1 … 12, that an answer names: "3 o'clock" or a bare "3"; a time of day such as "3:00" is not read.

    Raises:
        ParseFailure: the answer is not exactly one hour.
    """
    match = _CLOCK.fullmatch(answer.strip()) if len(answer) <= MAX_CHARACTERS else None
    if match is None:
        raise ParseFailure(f'expected an hour such as "3 o\'clock", 1 to 12, found {answer[:80]!r}')
    return int(match["hour"])
