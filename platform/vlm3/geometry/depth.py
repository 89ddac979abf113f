"""The two kinds of depth, and the conversion between them."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from vlm3.geometry.camera import Camera


class DepthKind(StrEnum):
    """What a depth number means."""

    Z = "z"
    """Distance along the optical axis."""
    RAY = "ray"
    """Distance along the ray from the camera centre to the point: what "how far" means."""


def convert_depth(
    depth_m: NDArray[np.floating], points_px: NDArray[np.floating], camera: Camera, source: DepthKind, target: DepthKind
) -> NDArray[np.float64]:
    """Convert depth of kind `source` at pixels of `camera` to kind `target`.

    Args:
        depth_m: (N,) metres.
        points_px: (N, 2) pixels (u, v) of the image of `camera`, distorted if its lens distorts.
        camera: camera of the image in which the points lie.
        source: kind of `depth_m`.
        target: kind of the result.

    Returns:
        (N,) metres; NaN where the pixel has no ray in front of the camera.

    """
    if source is target:
        return np.array(depth_m, np.float64)
    return convert_depth_along(depth_m, camera.unproject(points_px), source, target)


def convert_depth_along(
    depth_m: NDArray[np.floating], rays: NDArray[np.floating], source: DepthKind, target: DepthKind
) -> NDArray[np.float64]:
    """`convert_depth` for rays (N, 3) with z = 1 that were already computed by `Camera.unproject`.

    The two kinds differ by the length of the ray with unit z: ray depth = z·√(1 + x² + y²) (VLM3, arXiv 2605.30561,
    training data).
    """
    depth = np.asarray(depth_m, np.float64)
    if source is target:
        return depth.copy()
    ray_per_z = np.linalg.norm(rays, axis=-1)
    converted: NDArray[np.float64] = depth * ray_per_z if target is DepthKind.RAY else depth / ray_per_z
    return converted
