"""What evaluation and serving need of a model: text answers to text questions about images."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from vlm3.asking.number_form import NumberForm, Spread
from vlm3.asking.protocol import ParseFailure

ValueT = TypeVar("ValueT")
Status = Literal["ok", "unreadable", "cut", "refused"]
"""Outcome of a question: only `ok` comes with a value; `cut` and `refused` as in `Ending`."""


@dataclass(frozen=True, slots=True)
class ImageBounds:
    """Sizes of images that a model takes without resizing them itself."""

    token_px: int
    """Both sides must be multiples of this."""
    min_pixels: int
    max_pixels: int
    """`min_pixels` and `max_pixels` are bounds on H·W."""


@dataclass(frozen=True, slots=True, eq=False)
class TextRequest:
    """Questions about the same images, each to be answered on its own."""

    item: str
    """Where the images come from, for messages."""
    images: tuple[NDArray[np.uint8], ...]
    """One or two images (H, W, 3) RGB, within the model's bounds."""
    questions: tuple[str, ...]
    system: str | None
    """System prompt, None without one."""
    max_new_tokens: int
    """Number of tokens after which an answer is cut."""
    form: NumberForm | None = None
    """Form of the answers, where the numbers that the model may have answered are wanted with each."""


class Ending(StrEnum):
    """How an answer came to its end."""

    ITSELF = "itself"
    """The model ended it."""
    CUT = "cut"
    """It reached its largest number of tokens: the rest of it is unknown."""
    REFUSED = "refused"
    """The model does not answer this question, however often it is asked."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered to a question, and how the answer ended."""

    text: str
    """The model's own words; empty where it refuses."""
    ending: Ending = Ending.ITSELF
    spread: Spread | None = None
    """The numbers it may have answered; None if they were not asked for, or the model does not tell."""

    def read(self, reader: Callable[[str], ValueT]) -> tuple[Status, ValueT | None]:
        """Status, and the value that `reader` finds; the value is None unless the status is `ok`.

        A cut reply is never read, since a part of an answer may read as another value: "2" of "25 m".
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
        """Bounds of the images that the model takes."""
        ...

    def answer(self, request: TextRequest) -> list[Reply]:
        """One reply for each question, in order.

        Raises:
            UserError: the model cannot be reached, or refuses.
        """
        ...
