"""What every wording must hold: the fields that are filled in, and answers that read back as what they say."""

from collections.abc import Callable
from string import Formatter
from typing import Any

from vlm3.tasks.protocol import ParseFailure


def check_fields(wording: str, wanted: set[str]) -> None:
    """Refuse a wording that does not use exactly the fields that are filled in.

    Raises:
        ValueError: naming the fields wanted and found.
    """
    fields = {name for _, name, _, _ in Formatter().parse(wording) if name is not None}
    if fields != wanted:
        listed = "the fields " + " ".join(f"{{{name}}}" for name in sorted(wanted)) if wanted else "no field"
        raise ValueError(f"wording {wording!r} must use {listed}, it uses {sorted(fields)}")


def check_read(answer: str, values: dict[str, Any], read: Callable[[str], object], expected: object) -> None:
    """Refuse a form of answer that does not read back as what it says.

    Raises:
        ValueError: with the example that is not understood.
    """
    check_fields(answer, set(values))
    example = answer.format(**values)
    try:
        understood = read(example)
    except ParseFailure as failure:
        raise ValueError(f"answer {answer!r} gives {example!r}, which cannot be read: {failure}") from None
    if understood != expected:
        raise ValueError(f"answer {answer!r} gives {example!r}, which reads as {understood}")
