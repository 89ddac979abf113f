"""One resampling from decoded to unified pixels: along rows and columns for a pinhole, with a map for a lens."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from threading import Lock

import cv2
import numpy as np
from cachetools import LRUCache, cached
from numpy.typing import NDArray

from vlm3.geometry.camera import Camera, Distortion
from vlm3.geometry.pixels import scaled_px
from vlm3.storage.images import Decoded

AREA_BELOW = 0.75
"""If an axis shrinks by more than this factor, the image is averaged over areas: linear sampling would alias."""
MAX_PLANE_RATIO = 2.0
"""A plane at most this many times as large as its window is resampled whole, then cut: separable filters are 3 to 10
times faster."""
STRIP_PIXELS = 1 << 16
"""Pixels of a strip. A lens is undone strip by strip, so that map and pixels stay in the processor's cache."""
LENS_MAPS_BYTES = 160 << 20
"""Size of the maps that a process keeps: 16 maps of 1216×896 px, or fewer larger ones."""
LENSES_REMEMBERED = 1024
Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class LensStrip:
    """Places in the (perhaps reduced) source of the pixels (h, W) of some rows of a unified image."""

    first_row: int
    x_px: NDArray[np.float32]
    y_px: NDArray[np.float32]
    seen: NDArray[np.bool_]
    """True where the source shows something."""


def warp(decoded: Decoded, camera: Camera, target: Camera) -> Image:
    """Resample the image to the camera `target`: (H, W, 3) RGB, black where the source shows nothing.

    The result may be a window of a larger array and so not contiguous; images are copied later anyway.

    Args:
        decoded: pixels of the source image, perhaps reduced.
        camera: camera of the full source image.
        target: a pinhole whose principal point differs from the scaled one by whole pixels (`unified_camera`).
    """
    enlarged = min(target.fx_px / camera.fx_px, target.fy_px / camera.fy_px) > 1
    interpolation = cv2.INTER_CUBIC if enlarged else cv2.INTER_LINEAR
    pixels, kx, ky = _averaged(decoded, camera, target)
    if camera.is_pinhole:
        return _rescale(pixels, kx, ky, camera, target, interpolation)
    image = np.zeros((target.height_px, target.width_px, 3), np.uint8)
    for strip in lens_strips(camera, target, kx, ky):
        part = cv2.remap(pixels, strip.x_px, strip.y_px, interpolation, borderMode=cv2.BORDER_REPLICATE)
        cv2.copyTo(part, strip.seen.view(np.uint8), image[strip.first_row : strip.first_row + len(part)])
    return image


def valid_mask(camera: Camera, target: Camera) -> NDArray[np.bool_]:
    """(H, W) True where a pixel of `target` shows the source image."""
    if not camera.is_pinhole:
        return np.concatenate([strip.seen for strip in lens_strips(camera, target, 1.0, 1.0)])
    mask = np.zeros((target.height_px, target.width_px), np.bool_)
    mask[_shown(camera, target)] = True
    return mask


def _averaged(decoded: Decoded, camera: Camera, target: Camera) -> tuple[Image, float, float]:
    """Pixels, area-averaged if they shrink much, and their numbers per full-size pixel in x and y."""
    pixels, kx, ky = decoded.pixels, decoded.scale_x, decoded.scale_y
    sx, sy = target.fx_px / (camera.fx_px * kx), target.fy_px / (camera.fy_px * ky)
    if min(sx, sy) >= AREA_BELOW:
        return pixels, kx, ky
    sx, sy = min(sx, 1.0), min(sy, 1.0)
    return _resize(pixels, sx, sy, cv2.INTER_AREA), kx * sx, ky * sy


def _rescale(pixels: Image, kx: float, ky: float, camera: Camera, target: Camera, interpolation: int) -> Image:
    # The unified plane begins where the source does, so its pixel U lies at (U + 0.5) / s − 0.5, as in a resized image.
    sx, sy = target.fx_px / (camera.fx_px * kx), target.fy_px / (camera.fy_px * ky)
    left = round(scaled_px(camera.cx_px, target.fx_px / camera.fx_px) - target.cx_px)
    top = round(scaled_px(camera.cy_px, target.fy_px / camera.fy_px) - target.cy_px)
    rows, columns = shown = _shown(camera, target)
    plane_width, plane_height = _resized_size(pixels, sx, sy)
    fits = left + columns.stop <= plane_width and top + rows.stop <= plane_height
    if not fits or plane_width * plane_height > MAX_PLANE_RATIO * target.width_px * target.height_px:
        # The window is small in a much larger plane, or rounding cut the last row or column of the plane.
        matrix = np.array([[1 / sx, 0, scaled_px(left, 1 / sx)], [0, 1 / sy, scaled_px(top, 1 / sy)]])
        size, flags = (target.width_px, target.height_px), interpolation | cv2.WARP_INVERSE_MAP
        part: Image = cv2.warpAffine(pixels, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)[shown]
    else:
        plane = pixels if (sx, sy) == (1.0, 1.0) else _resize(pixels, sx, sy, interpolation)
        part = plane[top + rows.start : top + rows.stop, left + columns.start : left + columns.stop]
    if part.shape[:2] == (target.height_px, target.width_px):
        return part
    image = np.zeros((target.height_px, target.width_px, 3), np.uint8)
    image[shown] = part
    return image


def _resize(pixels: Image, sx: float, sy: float, interpolation: int) -> Image:
    # Given factors and no size, OpenCV uses them exactly: c → (c + 0.5)·s − 0.5, whatever the rounded size is.
    resized: Image = cv2.resize(pixels, None, fx=sx, fy=sy, interpolation=interpolation)
    return resized


def _resized_size(pixels: Image, sx: float, sy: float) -> tuple[int, int]:
    """(width, height) of the result of `_resize`."""
    return round(pixels.shape[1] * sx), round(pixels.shape[0] * sy)


def _shown(camera: Camera, target: Camera) -> tuple[slice, slice]:
    """Rows and columns of the unified image that show the source, for a pinhole."""
    rows = _span(camera.height_px, camera.cy_px, target.fy_px / camera.fy_px, target.cy_px, target.height_px)
    columns = _span(camera.width_px, camera.cx_px, target.fx_px / camera.fx_px, target.cx_px, target.width_px)
    return rows, columns


def _span(source_size: int, source_c: float, scale: float, target_c: float, target_size: int) -> slice:
    """Unified pixels whose centres lie in [−0.5, source_size − 0.5) of the source, along one axis."""
    start = math.ceil((-0.5 - source_c) * scale + target_c)
    stop = math.ceil((source_size - 0.5 - source_c) * scale + target_c)
    start = min(max(start, 0), target_size)
    return slice(start, min(max(stop, start), target_size))


def lens_strips(camera: Camera, target: Camera, kx: float, ky: float) -> Iterable[LensStrip]:
    """The map of a lens in strips from top to bottom, for a source with kx and ky pixels per full-size pixel.

    OpenCV computes it; it agrees with `Camera.project` to 1e-4 px. It is kept from the second request on: where every
    frame has its own K, keeping it would cost more than making it.
    """
    if next(_times_asked(camera, target, kx, ky)) == 0:
        return _make_strips(camera, target, kx, ky)
    return _kept_strips(camera, target, kx, ky)


@lru_cache(maxsize=LENSES_REMEMBERED)
def _times_asked(camera: Camera, target: Camera, kx: float, ky: float) -> Iterator[int]:
    return count()


def _bytes(strips: tuple[LensStrip, ...]) -> int:
    return sum(strip.x_px.nbytes + strip.y_px.nbytes + strip.seen.nbytes for strip in strips)


# Bounded in bytes, as the clients of a server choose the cameras and so the sizes.
@cached(LRUCache[object, tuple[LensStrip, ...]](LENS_MAPS_BYTES, getsizeof=_bytes), lock=Lock())
def _kept_strips(camera: Camera, target: Camera, kx: float, ky: float) -> tuple[LensStrip, ...]:
    return tuple(_make_strips(camera, target, kx, ky))


def _make_strips(camera: Camera, target: Camera, kx: float, ky: float) -> Iterator[LensStrip]:
    reduced = camera.scaled(kx, ky, camera.width_px, camera.height_px)
    make, length = (
        (cv2.fisheye.initUndistortRectifyMap, 4)
        if camera.distortion is Distortion.FISHEYE
        else (cv2.initUndistortRectifyMap, 8)
    )
    coefficients = np.zeros((length, 1))
    coefficients[: len(camera.coefficients), 0] = camera.coefficients
    within = _within_lens(camera, target)
    K, straight, rows = reduced.K, np.eye(3), max(1, STRIP_PIXELS // target.width_px)
    for first_row in range(0, target.height_px, rows):
        height_px = min(rows, target.height_px - first_row)
        strip_K = target.K - [[0, 0, 0], [0, 0, first_row], [0, 0, 0]]
        x_px, y_px = make(K, coefficients, straight, strip_K, (target.width_px, height_px), cv2.CV_32FC1)
        seen = _on_image(x_px, camera.width_px * kx)
        seen &= _on_image(y_px, camera.height_px * ky)
        if within is not None:
            seen &= within[first_row : first_row + height_px]
        yield LensStrip(first_row, x_px, y_px, seen)


def _on_image(at_px: NDArray[np.float32], size: float) -> NDArray[np.bool_]:
    """(h, W) True where a coordinate lies in [−0.5, size − 0.5)."""
    inside: NDArray[np.bool_] = at_px >= np.float32(-0.5)
    inside &= at_px < np.float32(size - 0.5)
    return inside


def _within_lens(camera: Camera, target: Camera) -> NDArray[np.bool_] | None:
    """(H, W) False beyond the lens model, where OpenCV's polynomials still give places; None if all is within."""
    x = (np.arange(target.width_px) - target.cx_px) / target.fx_px
    y = (np.arange(target.height_px) - target.cy_px) / target.fy_px
    x2, y2, largest2 = x * x, y * y, camera.largest_radius**2
    return None if x2.max() + y2.max() <= largest2 else x2 + y2[:, None] <= largest2
