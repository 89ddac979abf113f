"""Samples as tasks receive them, whether from a shard, a benchmark reader or an HTTP request."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.schema import Box, IntrinsicsSource, Scale


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a sample came from, so that every answer can be traced to its frame."""

    source: str
    scene: str
    frame: str
    intrinsics_source: IntrinsicsSource
    position: int | None = None
    """Stream position; None outside training."""


@dataclass(frozen=True, slots=True, eq=False)
class ViewSample:
    """One unified view with its labels, all in the pixels of the unified image."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB, on the model's visual-token grid."""
    camera: Camera
    """Distortion-free pinhole camera of `image`, fx = fy = the target focal."""
    points_px: NDArray[np.float64]
    """(N, 2) labelled points inside the image."""
    depth_m: NDArray[np.float64]
    """(N,) metres of kind `depth_kind`."""
    depth_kind: DepthKind
    scale: Scale
    boxes: tuple[Box, ...]
    """Boxes in the camera frame, which unification keeps. Their regions are in pixels of `image` and cut to it; boxes
    without a region, or with too little of it in the image (`vlm3.views.sample`), are left out."""
    provenance: Provenance

    @property
    def views(self) -> tuple["ViewSample", ...]:
        """The views to show: this one."""
        return (self,)


@dataclass(frozen=True, slots=True, eq=False)
class PairSample:
    """Two unified views of one scene."""

    view1: ViewSample
    view2: ViewSample
    cam1_T_cam2: NDArray[np.float64]
    """(4, 4) pose of camera 2 in the frame of camera 1."""
    points1_px: NDArray[np.float64]
    """(N, 2) labelled points in view 1."""
    points2_px: NDArray[np.float64]
    """(N, 2) their places in view 2; NaN if out of view."""
    visible: NDArray[np.bool_]
    """(N,) True if neither occluded nor out of view in view 2."""
    overlap: float
    """Symmetric covisibility in [0, 1]."""

    @property
    def views(self) -> tuple[ViewSample, ...]:
        """The views to show: views 1 and 2."""
        return self.view1, self.view2
