"""Whether a view sees a point, according to a coarse depth map of the view."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlm3.geometry.camera import Camera

Mask = NDArray[np.bool_]
RELATIVE_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """Which of N points a view sees, and which are hidden from it.

    Where both masks are False it is unknown: the point is outside the map, at a hole or a depth edge, or in front of
    the surface.
    """

    visible: Mask
    """(N,) True for points on the surface that the view sees there."""
    occluded: Mask
    """(N,) True for points behind that surface."""


def sight(
    points_cam_m: NDArray[np.float64],
    z_depth_m: NDArray[np.floating],
    camera: Camera,
    relative_tolerance: float = RELATIVE_TOLERANCE,
) -> Sight:
    """Compare points with the four samples of a depth map around them.

    A point is visible when its z agrees within the tolerance with the surface through the samples, interpolated in
    1/z, which is exact on planes at any slant. It is occluded when it lies behind all of them by more than the
    tolerance. In between, at a depth edge that passes between the samples, it is unknown. It is also unknown if the
    sample nearest to the point is invalid, or if the point is in front of the surface. The other three samples are used
    where they are valid.

    Args:
        points_cam_m: (N, 3) in the frame of the camera; points that are NaN or behind the camera are never seen.
        z_depth_m: (h, w) point samples of z-depth, never averages; NaN or ≤ 0 invalid.
        camera: camera of the depth map in its own size, with the lens. Samples may lie up to half a pixel of the
            original image away from their pixels; the tolerance covers this.
        relative_tolerance: a point whose z differs from the surface by less than this share lies on the surface.
    """
    height, width = z_depth_m.shape
    pixels = camera.project(points_cam_m)
    inside = camera.contains(pixels)
    u, v = (np.where(inside, axis, 0.0).clip(0, size - 1) for axis, size in zip(pixels.T, (width, height), strict=True))
    left, top = np.floor(u).astype(np.intp), np.floor(v).astype(np.intp)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    samples_m = z_depth_m[[top, top, bottom, bottom], [left, right, left, right]].astype(np.float64)
    a, b = u - left, v - top
    weights = np.stack([(1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b])
    valid = np.isfinite(samples_m) & (samples_m > 0)
    known = inside & np.take_along_axis(valid, weights.argmax(axis=0)[None], axis=0)[0]
    weights = np.where(valid, weights, 0.0)
    samples_m = np.where(valid, samples_m, np.inf)
    inverse_z = (weights / samples_m).sum(axis=0) / np.where(known, weights.sum(axis=0), 1.0)
    farthest_m = np.where(valid, samples_m, 0.0).max(axis=0)
    z_m = points_cam_m[:, 2]
    with np.errstate(invalid="ignore"):
        visible: Mask = known & (np.abs(z_m * inverse_z - 1) < relative_tolerance)
        occluded: Mask = known & (z_m > farthest_m * (1 + relative_tolerance))
    return Sight(visible, occluded)
