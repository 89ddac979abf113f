"""What a foreign dataset becomes: frames of scenes, with everything later stages need and nothing else."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind

SCHEMA_VERSION = 1
MAX_POINTS = 1024
"""Labelled points kept per frame."""
SMALL_DEPTH_LONG_SIDE_PX = 224


class Scale(StrEnum):
    """Whether lengths of a scene are metres or only right up to a factor."""

    METRIC = "metric"
    RELATIVE = "relative"


class IntrinsicsSource(StrEnum):
    """Where K came from, the most trusted first."""

    GIVEN = "given"
    FIELD_OF_VIEW = "field_of_view"
    EXIF = "exif"
    CALIBRATOR = "calibrator"


@dataclass(frozen=True, slots=True)
class DepthMap:
    """A small z-depth map for occlusion tests."""

    z_depth_m: NDArray[np.float32]
    """(h, w) metres, NaN where invalid; long side ≤ 224."""
    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float


@dataclass(frozen=True, slots=True)
class FullDepth:
    """The complete depth image of the dataset; training and evaluation do not read it."""

    encoded_png: bytes
    """16-bit PNG, 0 = invalid."""
    metres_per_unit: float


@dataclass(frozen=True, slots=True)
class Box:
    """An oriented 3D box in the camera frame, and the image region by which questions name it."""

    label: str
    center_cam_m: tuple[float, float, float]
    size_m: tuple[float, float, float]
    """Full extents along the object's own x, y, z."""
    cam_R_object: tuple[float, ...]
    """Row-major 3×3; columns are the object's axes in the camera frame."""
    region_px: tuple[float, float, float, float] | None
    """x0, y0, x1, y1 in the original image."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image with its camera, its labels and perhaps its pose.

    Pixels are those of the original image, axes OpenCV's; lengths are metres, or right up to a factor (`scale`).
    """

    source: str
    scene: str
    frame: str
    camera_id: str
    encoded_image: bytes
    """JPEG or PNG bytes exactly as the dataset has them; EXIF orientation upright."""
    camera: Camera
    intrinsics_source: IntrinsicsSource
    world_T_cam: NDArray[np.float64] | None
    """(4, 4) camera-to-world, None when unposed."""
    scale: Scale
    depth_kind: DepthKind
    """Kind of `points`; the small depth map is always z."""
    points: NDArray[np.float32]
    """(≤ 1024, 3) of u_px, v_px, depth_m: random valid labels in original pixels; (0, 3) without depth."""
    small_depth: DepthMap | None = None
    full_depth: FullDepth | None = None
    boxes: tuple[Box, ...] | None = None
    time_s: float | None = None
    dynamic: bool = False
    """True when things move in the scene over time: then no correspondence is asked across times."""
