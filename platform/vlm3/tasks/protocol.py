"""What every task is: questions asked of a sample, and answers read back, in text."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

from vlm3.geometry.depth import DepthKind

SampleT_contra = TypeVar("SampleT_contra", contravariant=True)
ValueT_co = TypeVar("ValueT_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer; the loss is on the answer."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """The text of one sample: the image (or images) come first, in the first question."""

    turns: tuple[Turn, ...]
    images: int = 1
    system: str | None = None


class ParseFailure(Exception):  # noqa: N818 - it is an outcome that metrics count, not a fault
    """An answer that is not exactly one value of the expected kind; the message says why."""


class Task(Protocol[SampleT_contra, ValueT_co]):
    """A task asks about a sample and reads answers. Implementations are pure and picklable."""

    @property
    def name(self) -> str:
        """Name used in recipes and reports."""
        ...

    @property
    def views(self) -> Literal[1, 2]:
        """Images of a sample: 1 for a `ViewSample`, 2 for a `PairSample`."""
        ...

    @property
    def depth_kind(self) -> DepthKind:
        """Of the depths that samples come with."""
        ...

    def ask(self, sample: SampleT_contra, rng: np.random.Generator) -> Conversation:
        """Questions with their true answers.

        Raises:
            DataError: the sample has no label this task can ask about.
        """
        ...

    def read(self, answer: str) -> ValueT_co:
        """The value an answer states.

        Raises:
            ParseFailure: nothing, or more than one thing, could be meant.
        """
        ...


AnyTask = Task[Any, Any]
"""On views or on pairs; its `views` says which."""
