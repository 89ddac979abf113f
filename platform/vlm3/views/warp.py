"""One resampling from decoded to unified pixels: along rows and columns for a pinhole, by a map for a lens."""

import math
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vlm3.geometry.camera import Camera, Distortion
from vlm3.storage.images import Decoded

FILL = 0
AREA_BELOW = 0.75
"""Axes that shrink further are averaged over the area of the unified pixel: linear sampling would alias."""
MAX_PLANE_RATIO = 2.0
"""A plane of up to so many windows is resampled whole and cut: separable filters are 3 to 10 times faster."""
LENS_MAPS_KEPT = 16
"""Maps a process keeps; one of 1216×896 px takes 10 MB."""
Image = NDArray[np.uint8]


def warp(decoded: Decoded, camera: Camera, target: Camera) -> Image:
    """(H, W, 3) RGB as `target` sees it; `FILL` where the source shows nothing.

    Perhaps a window of a larger array, its rows not next to each other: whoever collects images copies them anyway.

    Args:
        decoded: pixels of the source image, perhaps reduced.
        camera: of the full source image.
        target: a pinhole whose principal point differs from the scaled one by whole pixels (`unified_camera`).
    """
    enlarged = min(target.fx_px / camera.fx_px, target.fy_px / camera.fy_px) > 1
    interpolation = cv2.INTER_CUBIC if enlarged else cv2.INTER_LINEAR
    pixels, kx, ky = _averaged(decoded, camera, target)
    if camera.distortion is Distortion.NONE:
        return _rescale(pixels, kx, ky, camera, target, interpolation)
    map_x, map_y, unseen = _lens_maps(camera, target, kx, ky)
    image: Image = cv2.remap(pixels, map_x, map_y, interpolation, borderMode=cv2.BORDER_REPLICATE)
    if unseen is not None:
        image[unseen] = FILL
    return image


def valid_mask(camera: Camera, target: Camera) -> NDArray[np.bool_]:
    """(H, W) True where a pixel of `target` shows the source image."""
    if camera.distortion is not Distortion.NONE:
        return inside_image(camera, _source_points(camera, target)).reshape(target.height_px, target.width_px)
    mask = np.zeros((target.height_px, target.width_px), np.bool_)
    mask[_shown(camera, target)] = True
    return mask


def inside_image(camera: Camera, points_px: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) True for points (N, 2) on the camera's image; False for NaN."""
    with np.errstate(invalid="ignore"):
        inside: NDArray[np.bool_] = (
            (points_px[:, 0] >= -0.5)
            & (points_px[:, 0] < camera.width_px - 0.5)
            & (points_px[:, 1] >= -0.5)
            & (points_px[:, 1] < camera.height_px - 0.5)
        )
    return inside


def _averaged(decoded: Decoded, camera: Camera, target: Camera) -> tuple[Image, float, float]:
    """Pixels, and how many there are per pixel of the full image: after area averaging where they shrink much."""
    pixels, kx, ky = decoded.pixels, decoded.scale_x, decoded.scale_y
    sx, sy = target.fx_px / (camera.fx_px * kx), target.fy_px / (camera.fy_px * ky)
    if min(sx, sy) >= AREA_BELOW:
        return pixels, kx, ky
    sx, sy = min(sx, 1.0), min(sy, 1.0)
    return _resize(pixels, sx, sy, cv2.INTER_AREA), kx * sx, ky * sy


def _rescale(pixels: Image, kx: float, ky: float, camera: Camera, target: Camera, interpolation: int) -> Image:
    # The unified plane begins where the source does, so its pixel U lies at (U + 0.5) / s − 0.5: what resizing does.
    sx, sy = target.fx_px / (camera.fx_px * kx), target.fy_px / (camera.fy_px * ky)
    left = round((camera.cx_px + 0.5) * target.fx_px / camera.fx_px - 0.5 - target.cx_px)
    top = round((camera.cy_px + 0.5) * target.fy_px / camera.fy_px - 0.5 - target.cy_px)
    rows, columns = shown = _shown(camera, target)
    plane_width, plane_height = _resized_size(pixels, sx, sy)
    fits = left + columns.stop <= plane_width and top + rows.stop <= plane_height
    if not fits or plane_width * plane_height > MAX_PLANE_RATIO * target.width_px * target.height_px:
        # A small window of a plane that is much larger (or a last column lost to rounding).
        matrix = np.array([[1 / sx, 0, (left + 0.5) / sx - 0.5], [0, 1 / sy, (top + 0.5) / sy - 0.5]])
        size, flags = (target.width_px, target.height_px), interpolation | cv2.WARP_INVERSE_MAP
        part: Image = cv2.warpAffine(pixels, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)[shown]
    else:
        plane = pixels if (sx, sy) == (1.0, 1.0) else _resize(pixels, sx, sy, interpolation)
        part = plane[top + rows.start : top + rows.stop, left + columns.start : left + columns.stop]
    if part.shape[:2] == (target.height_px, target.width_px):
        return part
    image = np.full((target.height_px, target.width_px, 3), FILL, np.uint8)
    image[shown] = part
    return image


def _resize(pixels: Image, sx: float, sy: float, interpolation: int) -> Image:
    # Given factors and no size, OpenCV keeps them exactly: c → (c + 0.5)·s − 0.5 whatever the rounded size.
    resized: Image = cv2.resize(pixels, None, fx=sx, fy=sy, interpolation=interpolation)
    return resized


def _resized_size(pixels: Image, sx: float, sy: float) -> tuple[int, int]:
    """(width, height) of what `_resize` makes."""
    return round(pixels.shape[1] * sx), round(pixels.shape[0] * sy)


def _shown(camera: Camera, target: Camera) -> tuple[slice, slice]:
    """Rows and columns of a pinhole's unified image that show the source."""
    rows = _span(camera.height_px, camera.cy_px, target.fy_px / camera.fy_px, target.cy_px, target.height_px)
    columns = _span(camera.width_px, camera.cx_px, target.fx_px / camera.fx_px, target.cx_px, target.width_px)
    return rows, columns


def _span(source_size: int, source_c: float, scale: float, target_c: float, target_size: int) -> slice:
    """Unified pixels whose centres lie in [−0.5, source_size − 0.5) of the source, along one axis."""
    start = math.ceil((-0.5 - source_c) * scale + target_c)
    stop = math.ceil((source_size - 0.5 - source_c) * scale + target_c)
    start = min(max(start, 0), target_size)
    return slice(start, min(max(stop, start), target_size))


def _source_points(camera: Camera, target: Camera) -> NDArray[np.float64]:
    """(H·W, 2) source pixel of each unified pixel, NaN outside the lens model."""
    v, u = np.mgrid[: target.height_px, : target.width_px].astype(np.float64)
    return camera.project(target.unproject(np.stack([u.ravel(), v.ravel()], -1)))


@lru_cache(maxsize=LENS_MAPS_KEPT)
def _lens_maps(
    camera: Camera, target: Camera, kx: float, ky: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_] | None]:
    """(H, W) x and y in the reduced source of each unified pixel, and a mask of those that show nothing, if any."""
    points, shape = _source_points(camera, target), (target.height_px, target.width_px)
    unseen = ~inside_image(camera, points).reshape(shape)
    reduced = ((points + 0.5) * (kx, ky) - 0.5).astype(np.float32)
    map_x, map_y = (np.ascontiguousarray(axis).reshape(shape) for axis in reduced.T)
    return map_x, map_y, unseen if unseen.any() else None
