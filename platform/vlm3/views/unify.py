"""Focal unification: one resampling from source to model pixels, and the camera that describes the result exactly."""

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
"""Largest side that OpenCV can resample with a map, since it counts pixels in 16 bits."""
ROUNDING_PX = 1e-6
"""Rounding error allowed for mapping a point through two cameras."""
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class UnifyPolicy:
    """Focal length, token grid and bounds of unified images."""

    focal_px: float
    token_px: int
    min_pixels: int
    max_pixels: int


@dataclass(frozen=True, slots=True)
class Span:
    """The part of one axis of the unified plane that the source shows, in pixels.

    Position 0 is where the image would begin if the camera were a pinhole; with a lens it may begin before.
    """

    start: float
    stop: float
    center: float
    """Position about which the window is centred if the image is too large."""
    scaled_size: float
    """Size that the scaled source would have if its camera were a pinhole."""

    @property
    def first_px(self) -> int:
        """The whole pixel in which the span starts."""
        return math.floor(self.start)

    def first_of(self, size_px: int) -> int:
        """First pixel of a window of this size: that of the span if all of it fits, else centred on `center`."""
        most = max(0, math.floor(self.stop - self.first_px - size_px))
        return self.first_px + min(max(0, round(self.center - self.first_px - size_px / 2)), most)


@dataclass(frozen=True, slots=True, eq=False)
class UnifiedView:
    """A unified image and its two cameras."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    camera: Camera
    """Camera of `image`: a pinhole without distortion, fx = fy = the target focal."""
    source_camera: Camera

    def map_points(self, points_px: NDArray[np.floating]) -> Array:
        """Map source pixels (N, 2) to the unified image; NaN if they are outside of it."""
        return self.map_rays(self.source_camera.unproject(points_px))

    def map_rays(self, rays: NDArray[np.floating]) -> Array:
        """Pixels (N, 2) at which rays (N, 3) of the source camera meet the unified image; NaN if they do not."""
        return _clip_to(self.camera, self.camera.project(rays))

    def valid_mask(self) -> NDArray[np.bool_]:
        """(H, W) True where a pixel shows the source image."""
        return valid_mask(self.source_camera, self.camera)


def unify(encoded_image: bytes, camera: Camera, policy: UnifyPolicy) -> UnifiedView:
    """Resample an encoded image to the target focal length.

    Args:
        encoded_image: JPEG or PNG.
        camera: camera of the image as stored.
        policy: target focal, token grid and bounds.

    Raises:
        DataError: the image does not match its camera, or cannot have this focal length within the bounds.
    """
    target = unified_camera(camera, policy)
    width_px, height_px = decode_size(encoded_image)
    if (width_px, height_px) != (camera.width_px, camera.height_px):
        raise DataError(f"image is {width_px}x{height_px} px, its camera says {camera.width_px}x{camera.height_px}")
    scale = max(policy.focal_px / camera.fx_px, policy.focal_px / camera.fy_px)
    decoded = decode_at_least(encoded_image, min(scale, 1.0))
    return UnifiedView(warp(decoded, camera, target), target, camera)


def unified_camera(camera: Camera, policy: UnifyPolicy) -> Camera:
    """Camera of the unified image, computed without decoding. Raises DataError as `unify` does."""
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
    columns, rows = _spans(camera, policy.focal_px)
    width_px, height_px = _size(columns, rows, policy)
    return Camera(
        width_px,
        height_px,
        policy.focal_px,
        policy.focal_px,
        scaled_px(camera.cx_px, sx) - columns.first_of(width_px),
        scaled_px(camera.cy_px, sy) - rows.first_of(height_px),
    )


def _spans(camera: Camera, focal_px: float) -> tuple[Span, Span]:
    """Spans of the columns and the rows; an image that would be too large is cut about the middle of the source."""
    sx, sy = focal_px / camera.fx_px, focal_px / camera.fy_px
    width, height = camera.width_px * sx, camera.height_px * sy
    if camera.is_pinhole:
        return (
            Span(0.0, width, width / 2, width),
            Span(0.0, height, height / 2, height),
        )
    axis_x, axis_y = (camera.cx_px + 0.5) * sx, (camera.cy_px + 0.5) * sy
    reach = ray_extent(camera)
    middle_px = np.array([[(camera.width_px - 1) / 2, (camera.height_px - 1) / 2]])
    # If the lens has no ray there (NaN), the middle is the optical axis.
    x, y, _ = np.nan_to_num(camera.unproject(middle_px)[0]).tolist()
    return (
        Span(axis_x + focal_px * reach.left, axis_x + focal_px * reach.right, axis_x + focal_px * x, width),
        Span(axis_y + focal_px * reach.top, axis_y + focal_px * reach.bottom, axis_y + focal_px * y, height),
    )


def _size(columns: Span, rows: Span, policy: UnifyPolicy) -> tuple[int, int]:
    """(width, height) of the window in pixels: whole tokens, within the bounds of pixels."""
    t = policy.token_px
    cells = [_cells(span.stop - span.first_px, t) for span in (columns, rows)]
    most = policy.max_pixels // (t * t)
    if cells[0] * cells[1] > most:
        # Uses the proportions of the source, as a lens may reach far to two sides where there is little to see.
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
    """Number of tokens that cover `size` pixels, at most as many as OpenCV can resample."""
    # Rounding errors must not add a token.
    return min(max(1, math.ceil(size / token_px - 1e-9)), MAX_SIDE_PX // token_px)


def _clip_to(camera: Camera, points_px: Array) -> Array:
    """Set points outside the camera's image to NaN; points that rounding put beyond its edge are moved back."""
    last_px = np.array([camera.width_px, camera.height_px]) - 0.5 - ROUNDING_PX
    nearest_px = points_px.clip(-0.5, last_px)
    on_edge = (np.abs(points_px - nearest_px) <= 2 * ROUNDING_PX).all(axis=1)
    moved = np.where(on_edge[:, None], nearest_px, np.nan)
    return np.where(camera.contains(points_px)[:, None], points_px, moved)
