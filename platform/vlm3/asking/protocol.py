"""What the stream needs of every task: text questions and answers about a sample. Tasks also read answers back."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from vlm3.geometry.depth import DepthKind

SampleT_contra = TypeVar("SampleT_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer; the loss is on the answer."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Questions and answers about one sample; its image (or images) come first, in the first question."""

    turns: tuple[Turn, ...]
    images: int = 1
    system: str | None = None
    images_shown: tuple[NDArray[np.uint8], ...] | None = field(default=None, compare=False, repr=False)
    """(H, W, 3) RGB of each image where these are not the images of the sample's views, e.g. marked ones; else None."""


class Labels(StrEnum):
    """Labels that a task asks about, and that are therefore read for it."""

    POINTS = "points"
    POSES = "poses"
    BOXES = "boxes"


class ParseFailure(Exception):  # noqa: N818 - it is an outcome that metrics count, not a fault
    """An answer that is not exactly one value of the expected kind; the message says why."""


class Task(Protocol[SampleT_contra]):
    """A task asks about a sample. Implementations are pure and picklable."""

    @property
    def name(self) -> str:
        """Name used in recipes and reports."""
        ...

    @property
    def views(self) -> Literal[1, 2]:
        """Number of images of a sample: 1 for a `ViewSample`, 2 for a `PairSample`."""
        ...

    @property
    def asks_about(self) -> Labels:
        """Labels that samples must have; points of a pair are points that can be looked for in the other view."""
        ...

    @property
    def depth_kind(self) -> DepthKind:
        """Kind of the depths that samples must have."""
        ...

    def ask(self, sample: SampleT_contra, rng: np.random.Generator) -> Conversation:
        """Questions with their true answers.

        Raises:
            DataError: the sample has no label this task can ask about.
        """
        ...


AnyTask = Task[Any]
"""A task on views or on pairs; its `views` says which."""
