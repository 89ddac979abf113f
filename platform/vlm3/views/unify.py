"""Focal unification: one resampling from source to model pixels, with a camera that says exactly what was done."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from vlm3.errors import DataError
from vlm3.geometry.camera import Camera
from vlm3.storage.images import decode_at_least, decode_size
from vlm3.views.warp import inside_image, valid_mask, warp

MAX_UPSCALE = 32.0
MAX_SIDE_PX = 32_767
"""OpenCV's resampling counts pixels in 16 bits."""
Array = NDArray[np.float64]


class GridPolicy(StrEnum):
    """What happens to the ragged edge of the visual-token grid."""

    CROP = "crop"
    """Cut down to it: training."""
    PAD = "pad"
    """Fill up on the right and at the bottom: evaluation and serving, so that no asked point is lost."""


@dataclass(frozen=True, slots=True)
class UnifyPolicy:
    """What unified images look like."""

    focal_px: float
    grid: GridPolicy
    token_px: int
    min_pixels: int
    max_pixels: int


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the endless unified plane that becomes the image."""

    x_px: int
    y_px: int
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True, eq=False)
class UnifiedView:
    """A unified image and its two cameras."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    camera: Camera
    """Of `image`: a pinhole without distortion, fx = fy = the target focal."""
    source_camera: Camera

    def map_points(self, points_px: NDArray[np.floating]) -> Array:
        """Source pixels (N, 2) in the unified image; NaN where they are not in it."""
        return self.map_rays(self.source_camera.unproject(points_px))

    def map_rays(self, rays: NDArray[np.floating]) -> Array:
        """Where rays (N, 3) of the source camera meet the unified image; NaN where they do not."""
        return _clip_to(self.camera, self.camera.project(rays))

    def unmap_points(self, points_px: NDArray[np.floating]) -> Array:
        """Unified pixels (N, 2) in the source image; NaN where there is no source."""
        return _clip_to(self.source_camera, self.source_camera.project(self.camera.unproject(points_px)))

    def valid_mask(self) -> NDArray[np.bool_]:
        """(H, W) True where the pixel shows the source image."""
        return valid_mask(self.source_camera, self.camera)


def unify(
    encoded_image: bytes, camera: Camera, policy: UnifyPolicy, center_px: tuple[float, float] | None = None
) -> UnifiedView:
    """Resample an encoded image to the target focal length.

    Args:
        encoded_image: JPEG or PNG.
        camera: of the image as stored.
        policy: target focal, token grid and bounds.
        center_px: source pixel about which to crop where a crop is needed; default: the image's centre.

    Raises:
        DataError: the image does not match its camera, or cannot be brought to this focal within the bounds.
    """
    target = unified_camera(camera, policy, center_px)
    width_px, height_px = decode_size(encoded_image)
    if (width_px, height_px) != (camera.width_px, camera.height_px):
        raise DataError(f"image is {width_px}x{height_px} px, its camera says {camera.width_px}x{camera.height_px}")
    scale = max(policy.focal_px / camera.fx_px, policy.focal_px / camera.fy_px)
    decoded = decode_at_least(encoded_image, min(scale, 1.0))
    return UnifiedView(warp(decoded, camera, target), target, camera)


def unified_camera(camera: Camera, policy: UnifyPolicy, center_px: tuple[float, float] | None = None) -> Camera:
    """The camera of the unified image: pure arithmetic, nothing is decoded. Raises as `unify`."""
    fault = camera.fault()
    if fault is not None:
        raise DataError(fault)
    sx, sy = policy.focal_px / camera.fx_px, policy.focal_px / camera.fy_px
    if max(sx, sy) > MAX_UPSCALE:
        raise DataError(
            f"focal {min(camera.fx_px, camera.fy_px):g} px would be scaled up {max(sx, sy):.0f} times to"
            f" {policy.focal_px:g} px, at most {MAX_UPSCALE:g} times is useful: check the intrinsics"
        )
    if center_px is None:
        center_px = ((camera.width_px - 1) / 2, (camera.height_px - 1) / 2)
    full = (camera.width_px * sx, camera.height_px * sy)
    if min(full) < 1:
        raise DataError(
            f"focal {max(camera.fx_px, camera.fy_px):g} px shrinks an image of {camera.width_px}x{camera.height_px} px"
            f" to nothing at {policy.focal_px:g} px: check the intrinsics"
        )
    if max(camera.width_px, camera.height_px) > MAX_SIDE_PX:
        raise DataError(
            f"image of {camera.width_px}x{camera.height_px} px, at most {MAX_SIDE_PX} px a side can be resampled"
        )
    width, height = _size(full, policy)
    x = _offset(full[0], width, (center_px[0] + 0.5) * sx, policy.grid)
    y = _offset(full[1], height, (center_px[1] + 0.5) * sy, policy.grid)
    return Camera(
        width,
        height,
        policy.focal_px,
        policy.focal_px,
        (camera.cx_px + 0.5) * sx - 0.5 - x,
        (camera.cy_px + 0.5) * sy - 0.5 - y,
    )


def _size(full: tuple[float, float], policy: UnifyPolicy) -> tuple[int, int]:
    t = policy.token_px
    fit = math.floor if policy.grid is GridPolicy.CROP else math.ceil
    # A hair of rounding must not cost a column of tokens.
    cells = [max(1, fit(side / t + (1e-9 if fit is math.floor else -1e-9))) for side in full]
    most = policy.max_pixels // (t * t)
    if cells[0] * cells[1] > most:
        # Cut the longer side first, then both, so that the image stays inside the bound.
        shrink = math.sqrt(most / (cells[0] * cells[1]))
        cells = [max(1, math.floor(cells[0] * shrink)), max(1, math.floor(cells[1] * shrink))]
        longer = 0 if cells[0] >= cells[1] else 1
        cells[longer] = min(cells[longer], most // cells[1 - longer])
    least = -(-policy.min_pixels // (t * t))
    while cells[0] * cells[1] < least:
        cells[0 if cells[0] <= cells[1] else 1] += 1
    if max(cells) > 200 * min(cells):
        raise DataError(f"unified image of {cells[0] * t}x{cells[1] * t} px is more than 200 times longer than wide")
    return cells[0] * t, cells[1] * t


def _offset(full: float, size: int, center: float, grid: GridPolicy) -> int:
    """Where the window starts: 0 when the image fits into it, else about the centre and inside the image."""
    if full <= size or (grid is GridPolicy.PAD and math.ceil(full) <= size):
        return 0
    return int(min(max(0, round(center - size / 2)), math.floor(full - size)))


def _clip_to(camera: Camera, points_px: Array) -> Array:
    """Points with NaN for those outside the camera's image."""
    return np.where(inside_image(camera, points_px)[:, None], points_px, np.nan)
