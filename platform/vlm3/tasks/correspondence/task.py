"""Pixel correspondence: "where is this pixel of image 1 in image 2?"."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vlm3.asking.numbers import read_place
from vlm3.asking.protocol import Conversation, Labels, ParseFailure, Turn
from vlm3.asking.references import reference
from vlm3.asking.spec import Asked, Focal
from vlm3.asking.templates import Templates, template_set
from vlm3.config import StrictModel
from vlm3.errors import DataError
from vlm3.geometry.depth import DepthKind
from vlm3.tasks.correspondence.templates import CorrespondenceTemplates
from vlm3.views.samples import PairSample

NOT_VISIBLE = "not visible"


class CorrespondenceTaskConfig(StrictModel):
    """How correspondence is asked about."""

    points: Annotated[int, Field(ge=1, le=64)] = 10
    """Questions packed into one sample."""
    reference_range: Annotated[int, Field(ge=2, le=1_000_000)] = 1000
    """N of the text reference (1000: VLM3, arXiv 2605.30561, text pixel reference)."""
    hidden_points: Literal["leave out", "ask"] = "leave out"
    """Points that view 2 does not see: never asked about, or asked about with the answer "not visible"."""
    templates: Templates = "vlm3-1"
    """Name of a shipped template set, or path of a YAML file, which is read at once and kept in the configuration."""


class AskedCorrespondence(Asked):
    """Correspondence questions and the images they are about."""

    task = "correspondence"
    focal_px: Focal = 1000.0
    """Focal length to which both images are unified."""
    ask: CorrespondenceTaskConfig = CorrespondenceTaskConfig()

    def build(self) -> "CorrespondenceTask":
        """The task with this configuration."""
        return CorrespondenceTask(self.ask)


@dataclass(frozen=True, slots=True)
class CorrespondenceTask:
    """Asks where points of view 1 are in view 2, and reads the names of their places there."""

    config: CorrespondenceTaskConfig

    def __post_init__(self) -> None:
        self._wordings()

    @property
    def name(self) -> str:
        """Name of the task in recipes."""
        return AskedCorrespondence.task

    @property
    def views(self) -> Literal[2]:
        """Two images."""
        return 2

    @property
    def asks_about(self) -> Labels:
        """Labelled points."""
        return Labels.POINTS

    @property
    def depth_kind(self) -> DepthKind:
        """Any kind would do: the task asks nothing about depth."""
        return DepthKind.Z

    def ask(self, sample: PairSample, rng: np.random.Generator) -> Conversation:
        """Up to `points` questions about different points, wordings drawn at random.

        Raises:
            DataError: the pair has no point to ask about.
        """
        askable = np.ones(len(sample.visible), bool) if self.config.hidden_points == "ask" else sample.visible
        if not askable.any():
            first, second = (view.provenance for view in sample.views)
            raise DataError(
                f"no labelled point of {first.scene}/{first.frame} is seen in {second.scene}/{second.frame}"
            )
        templates, wordings = template_set(self.config.templates), self._wordings()
        sizes_px = [(view.image.shape[1], view.image.shape[0]) for view in sample.views]
        turns = []
        for index in rng.permutation(np.flatnonzero(askable))[: self.config.points]:
            wording = wordings.questions[int(rng.integers(len(wordings.questions)))]
            question = self._name(wording, _point(sample.points1_px[index]), sizes_px[0])
            seen = bool(sample.visible[index])
            answer = self._name(wordings.answer, _point(sample.points2_px[index]), sizes_px[1]) if seen else NOT_VISIBLE
            turns.append(Turn(question, templates.wrap(answer)))
        return Conversation(tuple(turns), images=2, system=self.system)

    def question(self, point1_px: tuple[float, float], image_size_px: tuple[int, int]) -> str:
        """The canonical question about a point of an image 1 of (width, height)."""
        return self._name(self._wordings().questions[0], point1_px, image_size_px)

    @property
    def system(self) -> str | None:
        """System prompt of the template set."""
        return template_set(self.config.templates).system

    def read(self, answer: str) -> tuple[int, int] | None:
        """Names of x and y in image 2, None for "not visible".

        Raises:
            ParseFailure: the answer is not exactly one point of the range.
        """
        text = template_set(self.config.templates).extract(answer).strip()
        if text.lower().removesuffix(".") == NOT_VISIBLE:
            return None
        x, y = read_place(text, self._wordings().pattern)
        if max(x, y) >= self.config.reference_range:
            raise ParseFailure(f"{text[:80]!r} lies outside of the range [0, {self.config.reference_range})")
        return x, y

    @property
    def answer_tokens(self) -> int:
        """Number of tokens that is enough for every answer."""
        templates, wordings, last = template_set(self.config.templates), self._wordings(), self.config.reference_range
        answers = (wordings.answer.format(x=last, y=last), NOT_VISIBLE)
        return templates.answer_tokens(answers, wordings.pattern)

    def _name(self, wording: str, point_px: tuple[float, float], image_size_px: tuple[int, int]) -> str:
        n = self.config.reference_range
        x, y = (reference(c, size, n) for c, size in zip(point_px, image_size_px, strict=True))
        return wording.format(x=x, y=y, n=n)

    def _wordings(self) -> CorrespondenceTemplates:
        return template_set(self.config.templates).part(CorrespondenceTemplates)


def _point(point_px: NDArray[np.float64]) -> tuple[float, float]:
    return float(point_px[0]), float(point_px[1])
