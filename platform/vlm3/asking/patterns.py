"""Users' regular expressions, which replace the built-in reading of an answer."""

import re
from collections.abc import Set
from itertools import islice
from typing import Annotated

from pydantic import AfterValidator, Field

from vlm3.asking.protocol import ParseFailure

MAX_PATTERN_CHARACTERS = 400
MAX_ANSWER_CHARACTERS = 256
"""Longer answers are not searched: a regular expression may take time that grows fast with the length of the text."""
_SIGN = r"+\-\u2212\u2013"
"""Also the Unicode minus and dash: a number without its sign, or one end of a range, is a different number."""
_GAP = r"[ '\u00a0\u2009\u202f]"
_WITHIN_AT_START = re.compile(
    rf"(?<=[0-9.,/{_SIGN}])[0-9.]|(?<=[0-9.])[{_SIGN}][0-9.]|(?<=[0-9]{_GAP})[0-9]{{3}}(?![0-9])", re.ASCII
)
_WITHIN_AT_END = re.compile(
    rf"(?<=[0-9.])(?:[0-9]|[.,/{_SIGN}][0-9]|{_GAP}[0-9]{{3}}(?![0-9])|e[+-]?[0-9])|(?<=[a-z])[a-z0-9\u00b2\u00b3]",
    re.ASCII | re.IGNORECASE,
)


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


Pattern = Annotated[str, Field(min_length=1, max_length=MAX_PATTERN_CHARACTERS), AfterValidator(_compiles)]
"""A regular expression with named groups. Nested repetitions, e.g. `(a+)+`, can take forever even on a short answer."""


def groups_of(pattern: str) -> set[str]:
    """Names of the groups of a pattern."""
    return set(re.compile(pattern).groupindex)


def check_groups(pattern: str | None, wanted: Set[str], optional: Set[str] = frozenset()) -> None:
    """Refuse a pattern that lacks a wanted group, or has a group that is neither wanted nor optional.

    Raises:
        ValueError: such a pattern; the message names the groups.
    """
    if pattern is None:
        return
    groups = groups_of(pattern)
    if not wanted <= groups <= wanted | optional:
        may = f" and may have {', '.join(sorted(optional))}" if optional else ""
        raise ValueError(
            f"pattern {pattern!r} must have the named groups {', '.join(sorted(wanted))}{may}; it has {sorted(groups)}"
        )


def find_once(pattern: str, answer: str) -> dict[str, str]:
    """Texts of the named groups of a pattern that matches an answer exactly once.

    Args:
        pattern: a checked `Pattern`.
        answer: the whole text to search.

    Returns:
        Text by name of the group; groups that matched nothing are left out.

    Raises:
        ParseFailure: no match, several matches, a match that begins or ends inside a number or ends inside a word, or
            an answer that is too long.
    """
    if len(answer) > MAX_ANSWER_CHARACTERS:
        raise ParseFailure(f"expected at most {MAX_ANSWER_CHARACTERS} characters, found {len(answer)}: {answer[:80]!r}")
    matches = list(islice(re.finditer(pattern, answer), 2))
    if len(matches) != 1:
        found = "several" if matches else "none"
        raise ParseFailure(f"expected one match of {pattern!r}, found {found} in {answer[:80]!r}")
    start, end = matches[0].span()
    if _WITHIN_AT_START.match(answer, start) or _WITHIN_AT_END.match(answer, end):
        raise ParseFailure(f"{matches[0][0]!r} is a part of a longer number or word in {answer[:80]!r}")
    return {name: text for name, text in matches[0].groupdict().items() if text is not None}
