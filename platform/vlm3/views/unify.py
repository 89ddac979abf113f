"""Focal unification: one resampling from source to model pixels, with a camera that says exactly what was done."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlm3.errors import DataError
from vlm3.geometry.camera import Camera
from vlm3.geometry.pixels import scaled_px
from vlm3.geometry.ray_extent import ray_extent
from vlm3.storage.images import decode_at_least, decode_size
from vlm3.views.warp import valid_mask, warp

MAX_UPSCALE = 32.0
MAX_SIDE_PX = 32_766
"""OpenCV's look-up in maps counts pixels in 16 bits."""
ROUNDING_PX = 1e-6
"""What the way through two cameras may cost."""
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class UnifyPolicy:
    """What unified images look like."""

    focal_px: float
    token_px: int
    min_pixels: int
    max_pixels: int


@dataclass(frozen=True, slots=True)
class Span:
    """What the source shows along one axis of the unified plane, in pixels.

    The plane begins where the image of a pinhole does; that of a lens may begin before.
    """

    start: float
    stop: float
    center: float
    """About which to cut."""
    scaled_size: float
    """Of the source, were it a pinhole's."""

    @property
    def first_px(self) -> int:
        """The whole pixel in which it starts."""
        return math.floor(self.start)

    def first_of(self, size_px: int) -> int:
        """Where a window of this size begins: with all that is shown if it holds that, else about the centre."""
        most = max(0, math.floor(self.stop - self.first_px - size_px))
        return self.first_px + min(max(0, round(self.center - self.first_px - size_px / 2)), most)


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
        center_px: source pixel about which to cut where the image would be too large; default: the image's centre.

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
    if min(camera.width_px * sx, camera.height_px * sy) < 1:
        raise DataError(
            f"focal {max(camera.fx_px, camera.fy_px):g} px shrinks an image of {camera.width_px}x{camera.height_px} px"
            f" to nothing at {policy.focal_px:g} px: check the intrinsics"
        )
    if max(camera.width_px, camera.height_px) > MAX_SIDE_PX:
        raise DataError(
            f"image of {camera.width_px}x{camera.height_px} px, at most {MAX_SIDE_PX} px a side can be resampled"
        )
    columns, rows = _spans(camera, policy.focal_px, center_px)
    width_px, height_px = _size(columns, rows, policy)
    return Camera(
        width_px,
        height_px,
        policy.focal_px,
        policy.focal_px,
        scaled_px(camera.cx_px, sx) - columns.first_of(width_px),
        scaled_px(camera.cy_px, sy) - rows.first_of(height_px),
    )


def _spans(camera: Camera, focal_px: float, center_px: tuple[float, float] | None) -> tuple[Span, Span]:
    """Columns and rows."""
    if center_px is None:
        center_px = ((camera.width_px - 1) / 2, (camera.height_px - 1) / 2)
    sx, sy = focal_px / camera.fx_px, focal_px / camera.fy_px
    width, height = camera.width_px * sx, camera.height_px * sy
    if camera.is_pinhole:
        return (
            Span(0.0, width, (center_px[0] + 0.5) * sx, width),
            Span(0.0, height, (center_px[1] + 0.5) * sy, height),
        )
    axis_x, axis_y = (camera.cx_px + 0.5) * sx, (camera.cy_px + 0.5) * sy
    reach = ray_extent(camera)
    # About the axis where the lens has no ray for it.
    x, y, _ = np.nan_to_num(camera.unproject(np.array([center_px]))[0]).tolist()
    return (
        Span(axis_x + focal_px * reach.left, axis_x + focal_px * reach.right, axis_x + focal_px * x, width),
        Span(axis_y + focal_px * reach.top, axis_y + focal_px * reach.bottom, axis_y + focal_px * y, height),
    )


def _size(columns: Span, rows: Span, policy: UnifyPolicy) -> tuple[int, int]:
    """(width, height) of the window, in whole tokens."""
    t = policy.token_px
    cells = [_cells(span.stop - span.first_px, t) for span in (columns, rows)]
    most = policy.max_pixels // (t * t)
    if cells[0] * cells[1] > most:
        # In the proportions of the source: a lens may reach far to two sides, where there is little to see.
        scaled = [_cells(span.scaled_size, t) for span in (columns, rows)]
        shrink = math.sqrt(most / (scaled[0] * scaled[1]))
        cells = [min(cells[axis], max(1, math.floor(scaled[axis] * shrink))) for axis in (0, 1)]
        longer = 0 if cells[0] >= cells[1] else 1
        cells[longer] = min(cells[longer], most // cells[1 - longer])
    least = -(-policy.min_pixels // (t * t))
    while cells[0] * cells[1] < least:
        cells[0 if cells[0] <= cells[1] else 1] += 1
    if max(cells) > 200 * min(cells):
        raise DataError(f"unified image of {cells[0] * t}x{cells[1] * t} px is more than 200 times longer than wide")
    return cells[0] * t, cells[1] * t


def _cells(size: float, token_px: int) -> int:
    """Tokens that hold so many pixels, of which OpenCV can resample as many."""
    # A hair of rounding must not cost a column of tokens.
    return min(max(1, math.ceil(size / token_px - 1e-9)), MAX_SIDE_PX // token_px)


def _clip_to(camera: Camera, points_px: Array) -> Array:
    """Points with NaN for those outside the camera's image; those that rounding put beyond its edge come back."""
    last_px = np.array([camera.width_px, camera.height_px]) - 0.5 - ROUNDING_PX
    nearest_px = points_px.clip(-0.5, last_px)
    on_edge = (np.abs(points_px - nearest_px) <= 2 * ROUNDING_PX).all(axis=1)
    moved = np.where(on_edge[:, None], nearest_px, np.nan)
    return np.where(camera.contains(points_px)[:, None], points_px, moved)
