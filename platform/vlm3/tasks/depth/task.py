"""Depth at points: "how far is this pixel?"."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vlm3.asking.point_sampling import PointSampling, choose_points
from vlm3.asking.protocol import Conversation, Turn
from vlm3.asking.references import reference
from vlm3.asking.templates import Templates, template_set
from vlm3.config import StrictModel
from vlm3.geometry.depth import DepthKind
from vlm3.tasks.depth.point_depth import AskedPointDepth, PointDepthTask, Prompt, printable, require_labels
from vlm3.tasks.depth.templates import DepthTemplates
from vlm3.views.samples import ViewSample
from vlm3.views.unify import UnifiedView


class DepthTaskConfig(StrictModel):
    """How depth is asked about."""

    points: Annotated[int, Field(ge=1, le=64)] = 10
    """Questions packed into one sample."""
    reference_range: Annotated[int, Field(ge=2, le=1_000_000)] = 2000
    """N of the text reference."""
    decimals: Annotated[int, Field(ge=0, le=4)] = 2
    """Decimals of the answers in metres, where the template set has no format of its own."""
    depth_kind: DepthKind = DepthKind.RAY
    templates: Templates = "vlm3-1"
    """Name of a shipped template set, or path of a YAML file, which is read at once and kept in the configuration."""
    sampling: PointSampling = PointSampling.UNIFORM
    """Which of the labelled points are asked about."""


class AskedDepth(AskedPointDepth):
    """Depth of points that the question names."""

    ask: DepthTaskConfig = DepthTaskConfig()

    def build(self) -> "DepthTask":
        """The task with this configuration."""
        return DepthTask(self.ask)


@dataclass(frozen=True, slots=True)
class DepthTask(PointDepthTask[DepthTaskConfig]):
    """Asks for the depth of labelled points and reads lengths."""

    @property
    def name(self) -> str:
        """Name of the task in recipes."""
        return AskedDepth.task

    def ask(self, sample: ViewSample, rng: np.random.Generator) -> Conversation:
        """Up to `points` questions about different labels of a metric view, wordings drawn at random.

        Raises:
            DataError: the scene is not metric, or the view shows no label, or none that prints as more than 0.
        """
        require_labels(sample, self.config.depth_kind)
        templates, wordings = template_set(self.config.templates), self._wordings()
        depth = templates.part(DepthTemplates)
        askable = printable(sample, templates, self.config.decimals)
        chosen = askable[
            choose_points(
                self.config.sampling,
                self.config.points,
                sample.image,
                sample.points_px[askable],
                sample.depth_m[askable],
                rng,
            )
        ]
        size = (sample.image.shape[1], sample.image.shape[0])
        turns: list[Turn] = []
        for index in chosen:
            drawn = wordings[int(rng.integers(len(wordings)))]
            wording = depth.follow_up if turns and depth.follow_up is not None else drawn
            x, y = sample.points_px[index]
            question = self._format(wording, (float(x), float(y)), size, sample.camera.fx_px)
            answer = depth.format_answer(float(sample.depth_m[index]), self.config.decimals)
            turns.append(Turn(question, templates.wrap(answer)))
        return Conversation(tuple(turns), system=self.system)

    def question(self, point_px: tuple[float, float], image_size_px: tuple[int, int], focal_px: float) -> str:
        """The canonical question about a point of an image of (width, height), unified to this focal length."""
        return self._format(self._wordings()[0], point_px, image_size_px, focal_px)

    def prompts(self, view: UnifiedView, points_px: NDArray[np.float64], item: str) -> Iterator[Prompt]:
        """One image, each point named in a question."""
        size_px, focal_px = (view.image.shape[1], view.image.shape[0]), view.camera.fx_px
        yield Prompt(view.image, tuple(self.question((x, y), size_px, focal_px) for x, y in points_px.tolist()))

    def _wordings(self) -> tuple[str, ...]:
        return template_set(self.config.templates).part(DepthTemplates).of(self.config.depth_kind)

    def _format(
        self, wording: str, point_px: tuple[float, float], image_size_px: tuple[int, int], focal_px: float
    ) -> str:
        n = self.config.reference_range
        x, y = (reference(c, size, n) for c, size in zip(point_px, image_size_px, strict=True))
        return wording.format(x=x, y=y, n=n, focal=round(focal_px))
