"""Items of a benchmark: frames with their true labels, in pixels of the original images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlm3.asking.object_questions import ObjectQuestion
from vlm3.geometry.pixels import Region
from vlm3.scenes.schema import Frame


@dataclass(frozen=True, slots=True, eq=False)
class DepthItem:
    """One image with depth at some of its pixels."""

    id: str
    """Unique in the benchmark, and the same each time the benchmark is opened."""
    group: str
    """What the bootstrap draws as a whole: the image, or its scene where images of one scene are alike."""
    frame: Frame
    points_px: NDArray[np.float64]
    """(N, 2) labelled points."""
    depth_m: NDArray[np.float64]
    """(N,) positive metres of kind `frame.depth_kind`."""


@dataclass(frozen=True, slots=True, eq=False)
class PairItem:
    """Two images of one scene: their relative pose, corresponding points, or both."""

    id: str
    group: str
    frame1: Frame
    frame2: Frame
    cam1_T_cam2: NDArray[np.float64] | None
    """(4, 4) pose of camera 2 in the frame of camera 1; None where nothing is asked about it."""
    points1_px: NDArray[np.float64]
    """(N, 2) points of image 1; N is 0 where no points are asked about."""
    points2_px: NDArray[np.float64]
    """(N, 2) the same points in image 2; NaN where image 2 does not see them."""


@dataclass(frozen=True, slots=True)
class RegionQuestion:
    """A question about regions of an image, with its published answer."""

    question: ObjectQuestion
    regions_px: tuple[Region, ...]
    """In the order in which the question names them."""
    value: float
    """The answer as a number, which `vlm3.asking.object_questions.AnswerForm` explains."""


@dataclass(frozen=True, slots=True, eq=False)
class ObjectItem:
    """One image with objects: oriented boxes in `frame.boxes`, or published questions about regions."""

    id: str
    group: str
    frame: Frame
    questions: tuple[RegionQuestion, ...] | None
    """None where questions are made from the boxes."""


Item = DepthItem | PairItem | ObjectItem
