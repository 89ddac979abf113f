"""Depth at points: "how far is this pixel?"."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vlm3.asking.focals import MetricTask
from vlm3.asking.numbers import read_extent
from vlm3.asking.point_sampling import PointSampling, choose_points
from vlm3.asking.protocol import AnyTask, Conversation, Labels, ParseFailure, Turn
from vlm3.asking.references import reference
from vlm3.asking.spec import Asked, Focal
from vlm3.asking.templates import Templates, TemplateSet, template_set
from vlm3.asking.wordings import LONG_M, NEAR_M, name_focal
from vlm3.config import StrictModel
from vlm3.errors import ConfigError, DataError
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.schema import Scale
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


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Questions about one image."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    questions: tuple[str, ...]


class PointDepthTask(AnyTask, Protocol):
    """A task about the depth of points, however they are pointed at."""

    @property
    def names_focal(self) -> bool:
        """Whether every question says to which focal length its image is unified."""
        ...

    @property
    def system(self) -> str | None:
        """System prompt of the template set."""
        ...

    @property
    def answer_tokens(self) -> int:
        """Number of tokens that is enough for every answer."""
        ...

    def prompts(self, view: UnifiedView, points_px: NDArray[np.float64], item: str) -> Iterator[Prompt]:
        """Prompts about points (N, 2) of the unified image of `item`, in the order of the points."""
        ...

    def read(self, answer: str) -> float:
        """Metres that an answer states. Raises ParseFailure."""
        ...


class AskedPointDepth(Asked):
    """Questions about the depth of points and the images they are about."""

    task = "depth"
    focal_px: Focal = 1000.0
    """Focal length to which every image is unified (VLM3: 1000 px)."""

    def build(self) -> PointDepthTask:
        """The task with this configuration."""
        raise NotImplementedError

    def metres(self) -> MetricTask:
        """How the task asks for metres: in all its questions."""
        return MetricTask(self.task, self.focal_px, self.build().names_focal)


class AskedDepth(AskedPointDepth):
    """Depth of points that the question names."""

    ask: DepthTaskConfig = DepthTaskConfig()

    def build(self) -> "DepthTask":
        """The task with this configuration."""
        return DepthTask(self.ask)


@dataclass(frozen=True, slots=True)
class DepthTask:
    """Asks for the depth of labelled points and reads lengths."""

    config: DepthTaskConfig

    def __post_init__(self) -> None:
        check_decimals(template_set(self.config.templates), self.config.decimals)

    @property
    def name(self) -> str:
        """Name of the task in recipes."""
        return AskedDepth.task

    @property
    def views(self) -> Literal[1]:
        """One image."""
        return 1

    @property
    def asks_about(self) -> Labels:
        """Labelled points."""
        return Labels.POINTS

    @property
    def depth_kind(self) -> DepthKind:
        """The configured kind of depth."""
        return self.config.depth_kind

    @property
    def names_focal(self) -> bool:
        """Whether every question says to which focal length its image is unified."""
        return name_focal(self._wordings())

    def ask(self, sample: ViewSample, rng: np.random.Generator) -> Conversation:
        """Up to `points` questions about different labels of a metric view, wordings drawn at random.

        Raises:
            DataError: the scene is not metric, or the view shows no label, or none that prints as more than 0.
        """
        require_labels(sample, self.config.depth_kind)
        templates, wordings = template_set(self.config.templates), self._wordings()
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
        turns = []
        for index in chosen:
            wording = wordings[int(rng.integers(len(wordings)))]
            x, y = sample.points_px[index]
            question = self._format(wording, (float(x), float(y)), size, sample.camera.fx_px)
            answer = templates.part(DepthTemplates).format_answer(float(sample.depth_m[index]), self.config.decimals)
            turns.append(Turn(question, templates.wrap(answer)))
        return Conversation(tuple(turns), system=self.system)

    def question(self, point_px: tuple[float, float], image_size_px: tuple[int, int], focal_px: float) -> str:
        """The canonical question about a point of an image of (width, height), unified to this focal length."""
        return self._format(self._wordings()[0], point_px, image_size_px, focal_px)

    def prompts(self, view: UnifiedView, points_px: NDArray[np.float64], item: str) -> Iterator[Prompt]:
        """One image, each point named in a question."""
        size_px, focal_px = (view.image.shape[1], view.image.shape[0]), view.camera.fx_px
        yield Prompt(view.image, tuple(self.question((x, y), size_px, focal_px) for x, y in points_px.tolist()))

    def read(self, answer: str) -> float:
        """Metres that an answer states.

        Raises:
            ParseFailure: the answer is not exactly one length, or the length cannot be a depth.
        """
        return read_depth(template_set(self.config.templates), answer)

    @property
    def answer_tokens(self) -> int:
        """Number of tokens that is enough for every answer."""
        return depth_tokens(template_set(self.config.templates), self.config.decimals)

    @property
    def system(self) -> str | None:
        """System prompt of the template set."""
        return template_set(self.config.templates).system

    def _wordings(self) -> tuple[str, ...]:
        return template_set(self.config.templates).part(DepthTemplates).of(self.config.depth_kind)

    def _format(
        self, wording: str, point_px: tuple[float, float], image_size_px: tuple[int, int], focal_px: float
    ) -> str:
        n = self.config.reference_range
        x, y = (reference(c, size, n) for c, size in zip(point_px, image_size_px, strict=True))
        return wording.format(x=x, y=y, n=n, focal=round(focal_px))


def require_labels(sample: ViewSample, kind: DepthKind) -> None:
    """Refuse a view that cannot be asked about depth in metres.

    Raises:
        DataError: the scene is not metric, or the view shows no label.
        ValueError: its labels are of the other kind.
    """
    where = f"{sample.provenance.source}/{sample.provenance.scene}/{sample.provenance.frame}"
    if sample.scale is not Scale.METRIC:
        raise DataError(f"{where}: depth in metres cannot be asked of a scene without metric scale")
    if not len(sample.points_px):
        raise DataError(f"{where}: no labelled point inside the unified image")
    if sample.depth_kind is not kind:
        raise ValueError(f"{where}: labels are {sample.depth_kind}, the task asks for {kind}")


def printable(sample: ViewSample, templates: TemplateSet, decimals: int) -> NDArray[np.intp]:
    """Indices of the labels that do not print as 0 in the form of a template set: 0 is not a depth.

    Raises:
        DataError: all labels print as 0.
    """
    places = next(n for n in range(4, -1, -1) if n == 0 or _reads(templates, decimals, 10.0**-n))
    found = np.flatnonzero(sample.depth_m > 0.5 * 10.0**-places)
    if not len(found):
        where = f"{sample.provenance.source}/{sample.provenance.scene}/{sample.provenance.frame}"
        raise DataError(f"{where}: no label is far enough to print as more than 0 m: give answers more decimals")
    return found


def _reads(templates: TemplateSet, decimals: int, metres: float) -> bool:
    try:
        return read_depth(templates, templates.wrap(templates.part(DepthTemplates).format_answer(metres, decimals))) > 0
    except ParseFailure:
        return False


def read_depth(templates: TemplateSet, answer: str) -> float:
    """Metres that an answer in the form of a template set states. Raises as `DepthTask.read`."""
    return read_extent(templates.extract(answer), templates.part(DepthTemplates).pattern, templates.thousands)


def depth_tokens(templates: TemplateSet, decimals: int) -> int:
    """Number of tokens that is enough for every answer in the form of a template set."""
    answers = (templates.part(DepthTemplates).format_answer(metres, decimals) for metres in LONG_M)
    return templates.answer_tokens(answers, templates.part(DepthTemplates).pattern)


def check_decimals(templates: TemplateSet, decimals: int) -> None:
    """Refuse decimals with which a set cannot read its own answers.

    Raises:
        ConfigError: such decimals; the message names them.
    """
    printed = templates.wrap(templates.part(DepthTemplates).format_answer(NEAR_M, decimals))
    try:
        read_depth(templates, printed)
    except ParseFailure as failure:
        raise ConfigError(
            f"decimals: {decimals}: template set {templates.name!r} cannot read its own answer {printed!r}: {failure}"
        ) from None
