"""How much of one view is visible in another (the reference recipe of MapAnything, arXiv 2509.13414)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vlm3.geometry.camera import Camera
from vlm3.geometry.rigid import invert, transform

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
MIN_Z_M = 0.04
DEPTH_AGREEMENT = 0.05
"""Depths that differ by less than this share belong to the same surface."""
FRUSTUM_DEPTHS_M = (1.0, 3.0, 8.0)
FRUSTUM_GRID = 12


@dataclass(frozen=True, slots=True, eq=False)
class PosedDepth:
    """A view's depth map with its camera and pose."""

    z_depth_m: NDArray[np.floating]
    """(h, w) z-depth in metres at the pixels of `camera`; NaN or ≤ 0 invalid."""
    camera: Camera
    """Intrinsics of the depth map, in its own size."""
    world_T_cam: Array
    """(4, 4) camera-to-world."""


def covisible_shares(views: Sequence[PosedDepth], compared: Mask, *, stride: int = 1) -> Array:
    """Share of the valid pixels of each view whose 3D point is visible in each other view.

    A point counts when it lands inside the other view with z > 0.04 m and its depth there agrees with the nearest
    sample of that map within `DEPTH_AGREEMENT`, so occluded points do not count. A view sees all valid pixels of
    itself, so its self-score is 1 and shares need not be divided by it.

    Args:
        views: n views, posed in the same world.
        compared: (n, n) which ordered pairs are wanted; the others are 0.
        stride: points are taken from every `stride`-th row and column of a view; they are looked up in full maps.

    Returns:
        (n, n) in [0, 1]: entry (i, j) is the share of view i that view j sees; 0 where view i has no valid pixel.
    """
    points_m = [_surface(view, stride) for view in views]
    return _shares(points_m, compared, lambda points, j: _visible(points, views[j]))


def frustum_shares(cameras: Sequence[Camera], world_T_cam: Sequence[Array], compared: Mask) -> Array:
    """Covisibility without depth: the share of a view's points on a grid at `FRUSTUM_DEPTHS_M` inside each other view.

    Args:
        cameras: cameras of n views.
        world_T_cam: (4, 4) pose of each.
        compared: (n, n) which ordered pairs are wanted; the others are 0.

    Returns:
        (n, n) in [0, 1]: entry (i, j) is the share of the frustum of view i that view j contains.
    """
    points_m = [transform(pose, _frustum(camera)) for camera, pose in zip(cameras, world_T_cam, strict=True)]

    def contained(points_world_m: Array, j: int) -> Mask:
        return cameras[j].contains(cameras[j].project(transform(invert(world_T_cam[j]), points_world_m)))

    return _shares(points_m, compared, contained)


def _shares(points_world_m: Sequence[Array], compared: Mask, seen_by: Callable[[Array, int], Mask]) -> Array:
    """(n, n) shares: entry (i, j) is the share of the points of view i for which `seen_by(points, j)` is True."""
    counts = np.array([len(points) for points in points_world_m])
    shares = np.zeros(compared.shape)
    for j in range(len(counts)):
        # One projection of the points of all views that are compared with view j.
        asked = np.flatnonzero(compared[:, j])
        if len(asked):
            seen = seen_by(np.concatenate([points_world_m[i] for i in asked.tolist()]), j)
            owner = np.repeat(np.arange(len(asked)), counts[asked])
            shares[asked, j] = np.bincount(owner[seen], minlength=len(asked)) / np.maximum(counts[asked], 1)
    return shares


def _visible(points_world_m: Array, view: PosedDepth) -> Mask:
    points_m = transform(invert(view.world_T_cam), points_world_m)
    pixels = view.camera.project(points_m)
    inside = view.camera.contains(pixels) & (points_m[:, 2] > MIN_Z_M)
    # Points outside are looked up at the corner and masked, which is cheaper than selecting those inside.
    column, row = (np.rint(np.where(inside, axis, 0.0)).astype(np.intp) for axis in pixels.T)
    there = view.z_depth_m[row, column]
    agrees: Mask = inside & (np.abs(points_m[:, 2] - there) < DEPTH_AGREEMENT * there)
    return agrees


def _surface(view: PosedDepth, stride: int) -> Array:
    """(N, 3) world points of the valid pixels in every `stride`-th row and column."""
    first = stride // 2
    z_depth_m = view.z_depth_m[first::stride, first::stride]
    valid = np.isfinite(z_depth_m) & (z_depth_m > 0)
    rays = _grid_rays(view.camera, stride)[valid.ravel()]
    return transform(view.world_T_cam, rays * z_depth_m[valid][:, None].astype(np.float64))


@lru_cache(maxsize=64)
def _grid_rays(camera: Camera, stride: int) -> Array:
    """(N, 3) rays of every `stride`-th pixel, row by row; cached, as the frames of a clip share few cameras."""
    v, u = np.mgrid[stride // 2 : camera.height_px : stride, stride // 2 : camera.width_px : stride]
    return camera.unproject(np.stack([u.ravel(), v.ravel()], axis=-1).astype(np.float64))


@lru_cache(maxsize=64)
def _frustum(camera: Camera) -> Array:
    """(N, 3) points of a grid over the image at each of `FRUSTUM_DEPTHS_M`, in the camera frame."""
    u, v = np.meshgrid(
        np.linspace(0, camera.width_px - 1, FRUSTUM_GRID), np.linspace(0, camera.height_px - 1, FRUSTUM_GRID)
    )
    rays = camera.unproject(np.stack([u.ravel(), v.ravel()], axis=-1))
    return np.concatenate([rays * depth for depth in FRUSTUM_DEPTHS_M])
