"""Measures how well the points of one view land on the surface that another view shows, under any convention.

A convention says what poses mean, what the unit of depth is, and along which line depth is measured. Under the right
one, views agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from vlm3.doctor.pose_conventions import GIVEN, PoseReading
from vlm3.geometry.camera import Camera
from vlm3.geometry.rigid import relative
from vlm3.scenes.depth_labels import depth_camera
from vlm3.scenes.schema import Frame
from vlm3.seeds import generator

Array = NDArray[np.float64]
POINTS_PER_VIEW = 400
PAIRS_PER_GROUP = 48
HIDDEN = 0.15
"""A point that lies behind the other view's surface by more than this share is hidden, which is no error."""


class StoredDepth(StrEnum):
    """What the numbers of a depth map that was read as z-depth may really be."""

    Z = "z-depth, as read"
    RAY = "ray depth, read as z-depth"
    SHORTENED = "z-depth, shortened as if it had been ray depth"


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A frame's depth map, prepared for comparison."""

    camera: Camera
    z_depth_m: Array
    """(h, w) z-depth, NaN invalid."""
    ray_per_z: Array
    """(h, w) length of the ray with z = 1 through each pixel."""
    rays: Array
    """(n, 3) rays with z = 1 of randomly chosen valid pixels."""
    z_of_rays_m: Array
    """(n,) z-depth of these pixels."""
    stored_pose: Array


@dataclass(frozen=True, slots=True)
class Convention:
    """How poses and depth are read."""

    pose: PoseReading = GIVEN
    depth_factor: float = 1.0
    """Factor that depth is multiplied by."""
    depth: StoredDepth = StoredDepth.Z


AS_GIVEN = Convention()
ViewPair = tuple[View, View]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the points of one view land in the other: numbers of points over all pairs."""

    points: int
    landed: int
    """Points that land in the other view, on a pixel with depth, and not behind its surface."""
    within_5pct: int
    within_2pct: int
    in_front: int
    """Points more than 5 % in front of the surface, in space that the other view has seen to be empty."""

    @property
    def share_5pct(self) -> float:
        """Share of the landed points that are within 5 % of the surface."""
        return self.within_5pct / max(self.landed, 1)

    @property
    def share_2pct(self) -> float:
        """Share of the landed points that are within 2 % of the surface."""
        return self.within_2pct / max(self.landed, 1)

    @property
    def found_2pct(self) -> float:
        """Share of all points that are within 2 %: a wrong convention cannot raise it by landing fewer points."""
        return self.within_2pct / max(self.points, 1)


def view_of(frame: Frame) -> View | None:
    """The frame as a `View`; None if its pose or camera is missing or invalid, or it has no valid depth."""
    pose = frame.world_T_cam
    if frame.small_depth is None or pose is None or pose.shape != (4, 4) or not np.isfinite(pose).all():
        return None
    camera, z_depth_m = depth_camera(frame.small_depth, frame.camera), frame.small_depth.z_depth_m.astype(np.float64)
    numbers = (camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px, *camera.coefficients)
    if not np.isfinite(numbers).all() or min(camera.fx_px, camera.fy_px) <= 0:
        return None
    v, u = np.mgrid[: camera.height_px, : camera.width_px]
    rays = camera.unproject(np.stack([u, v], axis=-1).astype(np.float64))
    ray_per_z = np.linalg.norm(rays, axis=-1)
    z_depth_m = np.where(np.isfinite(ray_per_z) & (z_depth_m > 0), z_depth_m, np.nan)
    valid = np.flatnonzero(np.isfinite(z_depth_m))
    if not len(valid):
        return None
    chosen = generator("reprojection", frame.source, frame.scene, frame.frame).permutation(valid)[:POINTS_PER_VIEW]
    return View(camera, z_depth_m, ray_per_z, rays.reshape(-1, 3)[chosen], z_depth_m.ravel()[chosen], pose)


def thinned(pairs: Sequence[ViewPair], most_pairs: int, points: int) -> list[ViewPair]:
    """At most `most_pairs` of the pairs, spread over all, each with its first `points` points."""
    few = pairs[:: -(-len(pairs) // most_pairs)]
    return [(replace(one, rays=one.rays[:points], z_of_rays_m=one.z_of_rays_m[:points]), other) for one, other in few]


def pairs_of(frames: Sequence[Frame]) -> list[ViewPair]:
    """Ordered pairs of views of one scene, chosen without the poses, since those may be wrong."""
    views = [view_of(frame) for frame in frames]
    pairs = []
    for i, first in enumerate(frames):
        for j, second in enumerate(frames):
            one, other = views[i], views[j]
            if i != j and one and other and first.scene == second.scene and _together(first, second):
                pairs.append((one, other))
    rng = generator("pairs", *(frame.frame for frame in frames))
    return [pairs[i] for i in sorted(rng.permutation(len(pairs))[:PAIRS_PER_GROUP].tolist())]


def _together(first: Frame, second: Frame) -> bool:
    """Whether two different frames show the scene in the same state: it is static, or their times are equal."""
    if first.frame == second.frame:
        return False
    moving = first.dynamic or second.dynamic
    return not moving or (first.time_s is not None and first.time_s == second.time_s)


def agreement(pairs: Sequence[ViewPair], convention: Convention = AS_GIVEN) -> Agreement:
    """How well the points of each first view land in the second under `convention`."""
    return agreements(pairs, convention, (convention.depth_factor,))[0]


def agreements(pairs: Sequence[ViewPair], convention: Convention, factors: Sequence[float]) -> list[Agreement]:
    """`agreement` under `convention` with each of `factors` in place of its depth factor."""
    per_factor = np.array(factors, np.float64)
    counts = np.zeros((len(factors), 5), np.int64)
    for first, second in pairs:
        counts += _counts(first, second, convention, per_factor)
    return [Agreement(*row) for row in counts.tolist()]


def _counts(first: View, second: View, convention: Convention, factors: Array) -> NDArray[np.int64]:
    """(F, 5) fields of `Agreement` for each of F factors."""
    second_T_first = relative(convention.pose(second.stored_pose), convention.pose(first.stored_pose))
    z_m = _z(first.z_of_rays_m, np.linalg.norm(first.rays, axis=-1), convention.depth)
    turned = (first.rays * z_m[:, None]) @ second_T_first[:3, :3].T
    # Only the ratio of depth to translation matters, so the translation is divided and depth keeps its units.
    moved = turned + second_T_first[:3, 3] / factors[:, None, None]
    pixels = np.rint(second.camera.project(moved))
    with np.errstate(invalid="ignore"):
        inside = np.all((pixels >= 0) & (pixels < (second.camera.width_px, second.camera.height_px)), axis=-1)
    column, row = np.where(inside[..., None], pixels, 0).astype(np.intp).transpose(2, 0, 1)
    surface = np.where(
        inside, _z(second.z_depth_m[row, column], second.ray_per_z[row, column], convention.depth), np.nan
    )
    error = moved[..., 2] / surface - 1
    # Comparisons with NaN are false, so points that are outside, or where there is no depth, count in none of these.
    kinds = (error < HIDDEN, np.abs(error) < 0.05, np.abs(error) < 0.02, error < -0.05)
    counted = [np.count_nonzero(kind, axis=1) for kind in kinds]
    return np.stack([np.full(len(factors), len(first.rays)), *counted], axis=1)


def _z(stored: Array, ray_per_z: Array, depth: StoredDepth) -> Array:
    if depth is StoredDepth.RAY:
        return stored / ray_per_z
    return stored * ray_per_z if depth is StoredDepth.SHORTENED else stored
