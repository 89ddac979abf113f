"""What a frame keeps of its depth image: random labels, and a small map for occlusion tests."""

import numpy as np
from numpy.typing import NDArray

from vlm3.geometry.camera import Camera
from vlm3.geometry.pixels import scaled_px
from vlm3.scenes.schema import MAX_POINTS, SMALL_DEPTH_LONG_SIDE_PX, DepthMap


def random_labels(z_depth_m: NDArray[np.floating], camera: Camera, rng: np.random.Generator) -> NDArray[np.float32]:
    """(≤ 1024, 3) of u_px, v_px, z_m: random valid pixels of a depth image for which the lens model has a ray.

    Args:
        z_depth_m: (H, W) metres, NaN where invalid.
        camera: camera of the depth image. Nothing can be asked beyond its lens model, even where there is depth.
        rng: decides which pixels, and their order.
    """
    order = rng.permutation(np.flatnonzero(np.isfinite(z_depth_m)))
    found = np.empty((0, 3), np.float32)
    # Mostly all of the first 1024 have a ray; undoing the lens for every pixel would cost a hundred times as much.
    for first in range(0, len(order), MAX_POINTS):
        chosen = order[first : first + MAX_POINTS]
        v, u = np.divmod(chosen, z_depth_m.shape[1])
        labels = np.stack([u, v, z_depth_m.ravel()[chosen]], axis=1).astype(np.float32)
        has_ray = np.isfinite(camera.unproject(labels[:, :2])[:, 2])
        found = np.concatenate([found, labels[has_ray]])[:MAX_POINTS]
        if len(found) == MAX_POINTS:
            break
    return found


def shrink_depth(z_depth_m: NDArray[np.floating], camera: Camera) -> DepthMap:
    """A small depth map of nearest samples, never averages across edges; long side ≤ `SMALL_DEPTH_LONG_SIDE_PX`.

    Args:
        z_depth_m: (H, W) metres, NaN where invalid; an image that is small enough keeps its size.
        camera: camera of the depth image.

    Returns:
        A map whose K follows c' = (c + 0.5)·s − 0.5. Samples lie within half a source pixel of where K puts them. The
        lens is that of `camera`: see `depth_camera`.
    """
    height, width = z_depth_m.shape
    scale = min(1.0, SMALL_DEPTH_LONG_SIDE_PX / max(height, width))
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    v = _nearest(rows, height)
    u = _nearest(columns, width)
    sx, sy = columns / width, rows / height
    return DepthMap(
        z_depth_m[np.ix_(v, u)].astype(np.float32),
        camera.fx_px * sx,
        camera.fy_px * sy,
        scaled_px(camera.cx_px, sx),
        scaled_px(camera.cy_px, sy),
    )


def depth_camera(depth: DepthMap, camera: Camera) -> Camera:
    """The camera of a small depth map: the map's own K and size, and the lens of its frame's `camera`."""
    height, width = depth.z_depth_m.shape
    intrinsics = (depth.fx_px, depth.fy_px, depth.cx_px, depth.cy_px)
    return Camera(width, height, *intrinsics, camera.distortion, camera.coefficients)


def _nearest(count: int, size: int) -> NDArray[np.intp]:
    """Index of the source sample nearest to each target centre."""
    centers = (np.arange(count) + 0.5) * size / count - 0.5
    return np.rint(centers).astype(np.intp)
