"""What evaluation and serving ask of a model: texts in answer to texts about images."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


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


class TextModel(Protocol):
    """A model that answers in text."""

    @property
    def bounds(self) -> ImageBounds:
        """Of the images it takes."""
        ...

    def answer(self, request: TextRequest) -> list[str]:
        """One text a question, in order.

        Raises:
            UserError: the model cannot be reached, or refuses.
        """
        ...
