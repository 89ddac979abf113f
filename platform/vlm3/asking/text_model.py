"""What evaluation and serving ask of a model: texts in answer to texts about images."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from vlm3.asking.protocol import ParseFailure

ValueT = TypeVar("ValueT")
Status = Literal["ok", "unreadable", "cut", "refused"]
"""What became of a question: only `ok` comes with a value; `cut` and `refused` as in `Ending`."""


@dataclass(frozen=True, slots=True)
class ImageBounds:
    """What images a model takes without resizing them itself."""

    token_px: int
    """Sides are multiples of it."""
    min_pixels: int
    max_pixels: int
    """Bounds on H·W."""


@dataclass(frozen=True, slots=True, eq=False)
class TextRequest:
    """Questions about the same images, each to be answered on its own."""

    item: str
    """Where the images come from, for messages."""
    images: tuple[NDArray[np.uint8], ...]
    """One or two of (H, W, 3) RGB, within the model's bounds."""
    questions: tuple[str, ...]
    system: str | None
    """System prompt, None without one."""
    max_new_tokens: int
    """At which an answer that has not ended is cut."""


class Ending(StrEnum):
    """How an answer came to its end."""

    ITSELF = "itself"
    """The model ended it."""
    CUT = "cut"
    """It had as many tokens as it may have: what it would have said is not known."""
    REFUSED = "refused"
    """This question is not answered, however often it is asked."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said to a question."""

    text: str
    """Its own words; empty where it refuses."""
    ending: Ending = Ending.ITSELF

    def read(self, reader: Callable[[str], ValueT]) -> tuple[Status, ValueT | None]:
        """The value that `reader` finds; None where there is none, and of a reply that did not end by itself always.

        Half of an answer may well read as another value: "2" of "25 m".
        """
        if self.ending is Ending.REFUSED:
            return "refused", None
        if self.ending is Ending.CUT:
            return "cut", None
        try:
            return "ok", reader(self.text)
        except ParseFailure:
            return "unreadable", None


class TextModel(Protocol):
    """A model that answers in text."""

    @property
    def bounds(self) -> ImageBounds:
        """Of the images it takes."""
        ...

    def answer(self, request: TextRequest) -> list[Reply]:
        """One reply a question, in order.

        Raises:
            UserError: the model cannot be reached, or refuses.
        """
        ...
