"""How far the rays of an image reach to each side."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vlm3.geometry.camera import Array, Camera

SIDE_POINTS = 64
"""Number of points along each side of the image."""
CIRCLE_POINTS = 720
"""Number of points on the circle where a lens ends: a multiple of 4, to include its leftmost, topmost, ... points."""
EXTENTS_KEPT = 1024


@dataclass(frozen=True, slots=True)
class RayExtent:
    """Rectangle around the rays (x, y, 1) of an image, as tangents of angles from the axis."""

    left: float
    top: float
    right: float
    bottom: float


def outline(points: int) -> Array:
    """(4 · points, 2) corners and edge points of the unit square: corners do not suffice, since a lens bends edges."""
    t = np.arange(points) / points
    sides = ((t, 0 * t), (0 * t + 1, t), (1 - t, 0 * t + 1), (0 * t, 1 - t))
    return np.concatenate([np.stack(side, -1) for side in sides])


@lru_cache(maxsize=EXTENTS_KEPT)
def ray_extent(camera: Camera) -> RayExtent:
    """Extent of the rays of all pixels of an image, up to the pixels' outer edges; pixels without a ray do not count.

    The rays through the border of the image bound it, and where the lens ends inside the image, its outermost rays.
    """
    low_px, high_px = np.array([-0.5, -0.5]), np.array([camera.width_px - 0.5, camera.height_px - 0.5])
    border = camera.unproject(low_px + outline(SIDE_POINTS) * (high_px - low_px))[:, :2]
    rays = np.concatenate([border, _last_rays(camera, low_px, high_px)])
    # Between points, a parabola bulges by an eighth of their second difference; a quarter also covers other curves.
    closed = np.concatenate([border, border[:1]])
    sides = [closed[side * SIDE_POINTS : (side + 1) * SIDE_POINTS + 1] for side in range(4)]
    bulge = np.nanmax(np.abs(np.diff(sides, 2, axis=1)), axis=(0, 1), initial=0.0) / 4
    # `initial`: the axis is in every image.
    low = np.nanmin(rays, axis=0, initial=0.0) - bulge
    high = np.nanmax(rays, axis=0, initial=0.0) + bulge
    return RayExtent(*low.clip(-camera.largest_radius).tolist(), *high.clip(None, camera.largest_radius).tolist())


def _last_rays(camera: Camera, low_px: Array, high_px: Array) -> Array:
    """(N, 2) rays at the largest radius of a lens that fall on the image, with the neighbours on either side."""
    angles = np.linspace(0, 2 * np.pi, CIRCLE_POINTS, endpoint=False)
    circle = camera.largest_radius * np.stack([np.cos(angles), np.sin(angles)], -1)
    # Slightly inside, so that rounding does not put them beyond the lens.
    at_px = camera.project(np.column_stack([circle * (1 - 1e-9), np.ones(CIRCLE_POINTS)]))
    on_image = ((at_px >= low_px) & (at_px <= high_px)).all(axis=1)
    return circle[on_image | np.roll(on_image, 1) | np.roll(on_image, -1)]
