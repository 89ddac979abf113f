"""How much of one view another view sees (the reference recipe of MapAnything, arXiv 2509.13414)."""

import numpy as np
from numpy.typing import NDArray

from vlm3.geometry.camera import Camera
from vlm3.geometry.rigid import invert, transform

Array = NDArray[np.float64]
MIN_Z_M = 0.04
FRUSTUM_DEPTHS_M = (1.0, 3.0, 8.0)
FRUSTUM_GRID = 12


def covisible_share(
    z_depth1_m: NDArray[np.floating],
    camera1: Camera,
    z_depth2_m: NDArray[np.floating],
    camera2: Camera,
    cam1_T_cam2: Array,
    *,
    relative_tolerance: float = 0.05,
) -> float:
    """Share of the valid pixels of view 1 whose 3D point is visible in view 2.

    A point counts when it lands inside view 2 with z > 0.04 m and its depth there agrees with the nearest sample of
    map 2 within `relative_tolerance`: occluded points do not.

    Args:
        z_depth1_m: (h1, w1) z-depth, NaN or ≤ 0 invalid, of the image that `camera1` describes.
        camera1: intrinsics of map 1 (its own size).
        z_depth2_m: (h2, w2), likewise.
        camera2: of map 2.
        cam1_T_cam2: pose of camera 2 in the frame of camera 1.
        relative_tolerance: of the depth agreement.

    Returns:
        In [0, 1]; 0 when map 1 has no valid pixel.
    """
    v, u = np.nonzero(np.isfinite(z_depth1_m) & (z_depth1_m > 0))
    if len(u) == 0:
        return 0.0
    rays = camera1.unproject(np.stack([u, v], axis=-1).astype(np.float64))
    points = transform(invert(cam1_T_cam2), rays * z_depth1_m[v, u, None].astype(np.float64))
    pixels = camera2.project(points)
    with np.errstate(invalid="ignore"):
        column, row = np.rint(pixels[:, 0]), np.rint(pixels[:, 1])
        inside = (points[:, 2] > MIN_Z_M) & (column >= 0) & (column < camera2.width_px) & (row >= 0)
        inside &= row < camera2.height_px
        there = z_depth2_m[row[inside].astype(int), column[inside].astype(int)]
        agrees = np.abs(points[inside, 2] - there) < relative_tolerance * there
    return float(np.count_nonzero(agrees) / len(u))


def symmetric_covisibility(
    z_depth1_m: NDArray[np.floating],
    camera1: Camera,
    z_depth2_m: NDArray[np.floating],
    camera2: Camera,
    cam1_T_cam2: Array,
    *,
    relative_tolerance: float = 0.05,
) -> float:
    """Mean of both directions' `covisible_share`."""
    forth = covisible_share(
        z_depth1_m, camera1, z_depth2_m, camera2, cam1_T_cam2, relative_tolerance=relative_tolerance
    )
    back = covisible_share(
        z_depth2_m, camera2, z_depth1_m, camera1, invert(cam1_T_cam2), relative_tolerance=relative_tolerance
    )
    return (forth + back) / 2


def frustum_overlap(
    camera1: Camera, camera2: Camera, cam1_T_cam2: Array, depths_m: tuple[float, ...] = FRUSTUM_DEPTHS_M
) -> float:
    """Covisibility without depth: the share of a grid of points at `depths_m` that the other view contains.

    Mean of both directions, in [0, 1].
    """
    return (
        _contained(camera1, camera2, cam1_T_cam2, depths_m)
        + _contained(camera2, camera1, invert(cam1_T_cam2), depths_m)
    ) / 2


def _contained(camera1: Camera, camera2: Camera, cam1_T_cam2: Array, depths_m: tuple[float, ...]) -> float:
    u, v = np.meshgrid(
        np.linspace(0, camera1.width_px - 1, FRUSTUM_GRID), np.linspace(0, camera1.height_px - 1, FRUSTUM_GRID)
    )
    rays = camera1.unproject(np.stack([u.ravel(), v.ravel()], axis=-1))
    points = np.concatenate([rays * depth for depth in depths_m])
    moved = transform(invert(cam1_T_cam2), points)
    pixels = camera2.project(moved)
    with np.errstate(invalid="ignore"):
        inside = (
            (pixels[:, 0] >= -0.5)
            & (pixels[:, 0] < camera2.width_px - 0.5)
            & (pixels[:, 1] >= -0.5)
            & (pixels[:, 1] < camera2.height_px - 0.5)
        )
    return float(np.mean(inside))
