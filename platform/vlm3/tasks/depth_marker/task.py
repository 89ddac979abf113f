"""Depth at a point that an arrow in the image marks (DepthLM, arXiv 2509.25413): to compare with the text reference."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vlm3.asking.protocol import Conversation, Turn
from vlm3.asking.templates import Templates, template_set
from vlm3.config import StrictModel
from vlm3.errors import ConfigError
from vlm3.geometry.depth import DepthKind
from vlm3.seeds import generator
from vlm3.tasks.depth.point_depth import AskedPointDepth, PointDepthTask, Prompt, printable, require_labels
from vlm3.tasks.depth.templates import DepthTemplates
from vlm3.views.samples import ViewSample
from vlm3.views.unify import UnifiedView

Channel = Annotated[int, Field(ge=0, le=255)]
DIRECTIONS = 8
"""Number of directions from which an arrow may come."""
HEAD_SHARE = 0.35
"""Length of the arrow's head, as a share of the arrow's length."""
MARGIN_PX = 3
"""Least distance between the arrow's tail and the border."""
_SUBPIXEL_BITS = 4


class MarkerDepthTaskConfig(StrictModel):
    """How depth at a marked point is asked about."""

    arrow_px: Annotated[int, Field(ge=8, le=512)] = 60
    """Length of the arrow; shorter in images that have no room for it."""
    colour: tuple[Channel, Channel, Channel] = (255, 0, 0)
    """Red, green, blue; the outline is black or white, whichever differs more."""
    decimals: Annotated[int, Field(ge=0, le=4)] = 2
    """Decimals of the answers in metres, where the template set has no format of its own."""
    depth_kind: DepthKind = DepthKind.RAY
    templates: Templates = "vlm3-1"
    """Name of a shipped template set, or path of a YAML file, which is read at once and kept in the configuration."""


class AskedDepthMarker(AskedPointDepth):
    """Depth questions about a point that an arrow marks: for comparison with the text reference."""

    task = "depth_marker"
    ask: MarkerDepthTaskConfig = MarkerDepthTaskConfig()

    def build(self) -> "MarkerDepthTask":
        """The task with this configuration."""
        return MarkerDepthTask(self.ask)


@dataclass(frozen=True, slots=True)
class MarkerDepthTask(PointDepthTask[MarkerDepthTaskConfig]):
    """Asks for the depth of one labelled point per sample, which an arrow marks, and reads lengths."""

    @property
    def name(self) -> str:
        """Name of the task in recipes."""
        return AskedDepthMarker.task

    def ask(self, sample: ViewSample, rng: np.random.Generator) -> Conversation:
        """One question about a label drawn at random, and the image with the arrow.

        Raises:
            DataError: the scene is not metric, or the view shows no label, or none that prints as more than 0.
        """
        require_labels(sample, self.config.depth_kind)
        wordings, templates = self._wordings(), template_set(self.config.templates)
        askable = printable(sample, templates, self.config.decimals)
        index = int(askable[rng.integers(len(askable))])
        x, y = sample.points_px[index].tolist()
        wording = wordings[int(rng.integers(len(wordings)))]
        answer = templates.part(DepthTemplates).format_answer(float(sample.depth_m[index]), self.config.decimals)
        return Conversation(
            (Turn(wording.format(focal=round(sample.camera.fx_px)), templates.wrap(answer)),),
            system=templates.system,
            images_shown=(self.mark(sample.image, (x, y), rng),),
        )

    def question(self, focal_px: float) -> str:
        """The canonical question about a marked image that is unified to this focal length."""
        return self._wordings()[0].format(focal=round(focal_px))

    def mark(
        self, image: NDArray[np.uint8], point_px: tuple[float, float], rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """A copy of an image (H, W, 3) with an arrow whose tip is at a point of it, from a random side with room."""
        return draw_arrow(image, point_px, self.config.arrow_px, self.config.colour, rng)

    def prompts(self, view: UnifiedView, points_px: NDArray[np.float64], item: str) -> Iterator[Prompt]:
        """One image for each point, with an arrow at the point."""
        question = (self.question(view.camera.fx_px),)
        for number, (x, y) in enumerate(points_px.tolist()):
            yield Prompt(self.mark(view.image, (x, y), generator("marked point", item, number)), question)

    def _wordings(self) -> tuple[str, ...]:
        templates = template_set(self.config.templates)
        marker = templates.part(DepthTemplates).marker
        if marker is None:
            raise ConfigError(f"template set {templates.name!r} lacks the field depth.marker, which the task needs")
        return marker.of(self.config.depth_kind)


def draw_arrow(
    image: NDArray[np.uint8],
    tip_px: tuple[float, float],
    length_px: float,
    colour: tuple[int, int, int],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """A copy of an image with an arrow, antialiased and outlined, that ends at a point and lies inside the image.

    Args:
        image: (H, W, 3) RGB, at least 16 px a side; left as it is.
        tip_px: (x, y) of the tip, inside the image.
        length_px: length of the arrow; shorter where the image has no room for it.
        colour: RGB.
        rng: picks one of the directions in which there is room.
    """
    height, width = image.shape[:2]
    # From any point the diagonal towards the farther corner has this much room.
    length = min(length_px, min(width, height) / 2 - MARGIN_PX)
    angles = 2 * math.pi / DIRECTIONS * np.arange(DIRECTIONS)
    tails = np.array(tip_px) + length * np.column_stack([np.cos(angles), np.sin(angles)])
    room = ((tails >= MARGIN_PX) & (tails <= np.array([width, height]) - 1 - MARGIN_PX)).all(axis=1)
    tail = tails[rng.choice(np.flatnonzero(room))]
    start, end = (np.rint(np.array(point) * 2**_SUBPIXEL_BITS).astype(int).tolist() for point in (tail, tip_px))
    thickness = max(2, round(length / 20))
    outline = (255, 255, 255) if sum(colour) < 384 else (0, 0, 0)
    marked = image.copy()
    for ink, stroke in ((outline, thickness + 2), (colour, thickness)):
        cv2.arrowedLine(marked, start, end, ink, stroke, cv2.LINE_AA, _SUBPIXEL_BITS, HEAD_SHARE)
    return marked
