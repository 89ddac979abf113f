"""Tags around an answer, and tags around the thinking before it."""

from itertools import permutations
from typing import Annotated

from pydantic import Field

from vlm3.asking.protocol import ParseFailure

Tags = tuple[Annotated[str, Field(min_length=1, max_length=32)], Annotated[str, Field(min_length=1, max_length=32)]]
"""Opening and closing tag, e.g. ("<answer>", "</answer>")."""


def wrapped(answer: str, answer_tags: Tags | None) -> str:
    """An answer as it is trained on: inside its tags, without any thinking."""
    return answer if answer_tags is None else f"{answer_tags[0]}{answer}{answer_tags[1]}"


def extracted(text: str, answer_tags: Tags | None, think_tags: Tags | None) -> str:
    """The answer in a model's text: thinking is dropped, then the text inside the one pair of answer tags is taken.

    Args:
        text: what the model wrote.
        answer_tags: None when the whole text is the answer.
        think_tags: None when the model does not think in writing.

    Raises:
        ParseFailure: thinking is nested or not closed, or there is not exactly one pair of answer tags.
    """
    if think_tags is not None:
        text = _without_thinking(text, think_tags)
    if answer_tags is None:
        return text
    opening, closing = answer_tags
    inside, closed, _ = text.partition(opening)[2].partition(closing)
    if not closed or text.count(opening) != 1 or text.count(closing) != 1:
        raise ParseFailure(f"expected one answer between {opening!r} and {closing!r}, found {text[-80:]!r}")
    return inside


def check_tags(answer_tags: Tags | None, think_tags: Tags | None) -> None:
    """Refuse tags that cannot be told apart.

    Raises:
        ValueError: a tag is blank, or lies inside another one.
    """
    tags = (answer_tags or ()) + (think_tags or ())
    for tag in tags:
        if not tag.strip():
            raise ValueError(f"tag {tag!r} of answer_tags or think_tags is blank")
    for tag, other in permutations(tags, 2):
        if tag in other:
            raise ValueError(f"tags of answer_tags and think_tags must be told apart, but {tag!r} lies in {other!r}")


def _without_thinking(text: str, tags: Tags) -> str:
    opening, closing = tags
    kept, rest = [], text
    while True:
        outside, opened, rest = rest.partition(opening)
        thought, closed, after = rest.partition(closing)
        if closing in outside or opening in thought or bool(opened) != bool(closed):
            raise ParseFailure(
                f"expected thinking closed by {closing!r} once for each {opening!r}, found {text[:80]!r}"
            )
        kept.append(outside)
        if not opened:
            # On separate lines: the two halves of a number that a thought interrupts must not be joined.
            return "\n".join(kept)
        rest = after
