"""What the tasks about the depth of points share, however a point is pointed at."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from vlm3.asking.focals import MetricTask
from vlm3.asking.number_form import NumberForm
from vlm3.asking.numbers import read_extent
from vlm3.asking.protocol import Conversation, Labels, ParseFailure
from vlm3.asking.spec import Asked, Focal
from vlm3.asking.templates import TemplateSet, template_set
from vlm3.asking.wordings import LONG_M, NEAR_M, name_focal
from vlm3.errors import ConfigError, DataError
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.schema import Scale
from vlm3.tasks.depth.templates import DepthTemplates
from vlm3.views.samples import ViewSample
from vlm3.views.unify import UnifiedView


class PointDepthConfig(Protocol):
    """Part of the configuration that all these tasks have."""

    @property
    def decimals(self) -> int:
        """Decimals of the answers, in metres."""
        ...

    @property
    def depth_kind(self) -> DepthKind:
        """Kind of depth that is asked for."""
        ...

    @property
    def templates(self) -> str | TemplateSet:
        """Template set, or the name of a shipped one."""
        ...


ConfigT = TypeVar("ConfigT", bound=PointDepthConfig)


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Questions about one image."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PointDepthTask(ABC, Generic[ConfigT]):
    """Asks for the depth of labelled points and reads lengths."""

    config: ConfigT

    def __post_init__(self) -> None:
        self._wordings()
        check_decimals(template_set(self.config.templates), self.config.decimals)

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the task in recipes."""

    @abstractmethod
    def ask(self, sample: ViewSample, rng: np.random.Generator) -> Conversation:
        """Questions about labels of a metric view, with their true answers.

        Raises:
            DataError: the scene is not metric, or the view shows no label, or none that prints as more than 0.
        """

    @abstractmethod
    def prompts(self, view: UnifiedView, points_px: NDArray[np.float64], item: str) -> Iterator[Prompt]:
        """Prompts about points (N, 2) of the unified image of `item`, in the order of the points."""

    @abstractmethod
    def _wordings(self) -> tuple[str, ...]:
        """Wordings of the question; the first one is canonical. Raises ConfigError if the template set has none."""

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

    @property
    def system(self) -> str | None:
        """System prompt of the template set."""
        return template_set(self.config.templates).system

    @property
    def answer_tokens(self) -> int:
        """Number of tokens that is enough for every answer."""
        return depth_tokens(template_set(self.config.templates), self.config.decimals)

    @property
    def number_form(self) -> NumberForm | None:
        """Form of its answers, if they are one number and fixed text."""
        templates = template_set(self.config.templates)
        depth, decimals = templates.part(DepthTemplates), self.config.decimals
        return NumberForm.of(lambda metres: templates.wrap(depth.format_answer(metres, decimals)))

    def read(self, answer: str) -> float:
        """Metres that an answer states.

        Raises:
            ParseFailure: it is not exactly one length, or one that no point has.
        """
        return read_depth(template_set(self.config.templates), answer)


class AskedPointDepth(Asked):
    """Questions about the depth of points and the images they are about."""

    task = "depth"
    focal_px: Focal = 1000.0
    """Focal length to which every image is unified (VLM3: 1000 px)."""

    def build(self) -> PointDepthTask[Any]:
        """The task with this configuration."""
        raise NotImplementedError

    def metres(self) -> MetricTask:
        """How the task asks for metres: in all its questions."""
        return MetricTask(self.task, self.focal_px, self.build().names_focal)


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
    """Metres that an answer in the form of a template set states. Raises as `PointDepthTask.read`."""
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
