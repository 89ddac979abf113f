"""Depth at points: "how far is this pixel?"."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from vlm3.config import StrictModel
from vlm3.errors import DataError
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.schema import Scale
from vlm3.tasks.protocol import Conversation, Turn
from vlm3.tasks.reading import read_length
from vlm3.tasks.reference import reference
from vlm3.tasks.templates import Templates, template_set
from vlm3.views.samples import ViewSample


class DepthTaskConfig(StrictModel):
    """How depth is asked about."""

    points: Annotated[int, Field(ge=1, le=64)] = 10
    """Questions packed into one sample."""
    reference_range: Annotated[int, Field(ge=2, le=1_000_000)] = 2000
    """N of the text reference."""
    decimals: Annotated[int, Field(ge=0, le=4)] = 2
    """Of the answers, in metres."""
    depth_kind: DepthKind = DepthKind.RAY
    templates: Templates = "vlm3-1"
    """Name of a shipped template set, or path of a YAML file, which is read at once and kept in the configuration."""


@dataclass(frozen=True, slots=True)
class DepthTask:
    """Asks for the depth of labelled points and reads lengths."""

    config: DepthTaskConfig

    @property
    def name(self) -> str:
        """`depth`."""
        return "depth"

    @property
    def views(self) -> Literal[1]:
        """One image."""
        return 1

    @property
    def needs_points(self) -> bool:
        """Points are what is asked about."""
        return True

    @property
    def depth_kind(self) -> DepthKind:
        """As configured."""
        return self.config.depth_kind

    def ask(self, sample: ViewSample, rng: np.random.Generator) -> Conversation:
        """Up to `points` questions about different labels of a metric view, wordings drawn at random.

        Raises:
            DataError: the scene is not metric, or the view shows no label.
        """
        where = f"{sample.provenance.source}/{sample.provenance.scene}/{sample.provenance.frame}"
        if sample.scale is not Scale.METRIC:
            raise DataError(f"{where}: depth in metres cannot be asked of a scene without metric scale")
        if not len(sample.points_px):
            raise DataError(f"{where}: no labelled point inside the unified image")
        if sample.depth_kind is not self.config.depth_kind:
            raise ValueError(f"{where}: labels are {sample.depth_kind}, the task asks for {self.config.depth_kind}")
        chosen = rng.permutation(len(sample.points_px))[: self.config.points]
        wordings = self._wordings()
        size = (sample.image.shape[1], sample.image.shape[0])
        turns = []
        for index in chosen:
            wording = wordings[int(rng.integers(len(wordings)))]
            x, y = sample.points_px[index]
            answer = f"{sample.depth_m[index]:.{self.config.decimals}f}"
            turns.append(Turn(self._format(wording, (float(x), float(y)), size), answer))
        return Conversation(tuple(turns), system=self.system)

    def question(self, point_px: tuple[float, float], image_size_px: tuple[int, int]) -> str:
        """The canonical question about a point of an image of (width, height)."""
        return self._format(self._wordings()[0], point_px, image_size_px)

    def read(self, answer: str) -> float:
        """Metres of an answer.

        Raises:
            ParseFailure: it is not exactly one length.
        """
        return read_length(answer)

    @property
    def system(self) -> str | None:
        """System prompt of the template set."""
        return template_set(self.config.templates).system

    def _wordings(self) -> tuple[str, ...]:
        depth = template_set(self.config.templates).depth
        return depth.ray if self.config.depth_kind is DepthKind.RAY else depth.z

    def _format(self, wording: str, point_px: tuple[float, float], image_size_px: tuple[int, int]) -> str:
        n = self.config.reference_range
        x, y = (reference(c, size, n) for c, size in zip(point_px, image_size_px, strict=True))
        return wording.format(x=x, y=y, n=n)
