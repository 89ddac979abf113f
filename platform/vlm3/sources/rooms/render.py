"""A ray caster of furnished rooms: exact z-depth, simple materials, any camera."""

from dataclasses import dataclass
from threading import Lock

import numpy as np
from cachetools import LRUCache, cached
from numpy.typing import NDArray

from vlm3.geometry.camera import Camera
from vlm3.sources.rooms.layout import Room

Floats = NDArray[np.float32]
LAMP_REACH_M = 3.0
"""Distance at which a lamp's light has fallen to half."""
RAYS_BYTES = 512 << 20
"""Bytes of rays that a process keeps: enough for one camera of the largest size."""


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """One picture of a room."""

    rgb: NDArray[np.uint8]
    """(H, W, 3)."""
    z_depth_m: NDArray[np.float64]
    """(H, W), NaN outside the lens model."""
    furniture: NDArray[np.int16]
    """(H, W) index of the furniture seen, -1 for walls and outside the lens model."""


def render(room: Room, camera: Camera, world_T_cam: NDArray[np.float64]) -> Rendered:
    """Render a room for a camera. Rays have unit z in the camera frame, so the ray parameter is the z-depth."""
    rays = _rays(camera)
    origin, directions = world_T_cam[:3, 3], rays @ world_T_cam[:3, :3].T
    with np.errstate(divide="ignore", invalid="ignore"):
        depth, normal_axis, local = _walls(room, origin, directions)
        seen = np.full(len(rays), -1, np.int16)
        light_normal = np.zeros((len(rays), 3), np.float32)
        light_normal[np.arange(len(rays)), normal_axis] = -np.sign(directions[np.arange(len(rays)), normal_axis])
        colour = _wall_colour(room, normal_axis, directions, local)
        for index, item in enumerate(room.furniture):
            rotation = item.world_R_object
            near, axis = _box(rotation.T @ (origin - item.center_m), directions @ rotation, item.size_m / 2)
            hit = near < depth
            if not hit.any():
                continue
            depth[hit], seen[hit] = near[hit], index
            sign = -np.sign((directions[hit] @ rotation)[np.arange(int(hit.sum())), axis[hit]])
            light_normal[hit] = (rotation[:, axis[hit]] * sign).T
            inside = (origin - item.center_m + directions[hit] * near[hit, None]) @ rotation
            colour[hit] = _item_colour(item.colour.astype(np.float32), inside, item.size_m, axis[hit])
    points = origin + directions * depth[:, None]
    shade = _shade(points, light_normal, room, origin)
    shape = (camera.height_px, camera.width_px)
    outside = ~np.isfinite(rays[:, 0])
    rgb = np.clip(colour * shade[:, None] * 255, 0, 255)
    rgb[outside] = 0
    depth[outside] = np.nan
    seen[outside] = -1
    return Rendered(rgb.astype(np.uint8).reshape(*shape, 3), depth.reshape(shape), seen.reshape(shape))


@cached(LRUCache[object, NDArray[np.float64]](RAYS_BYTES, getsizeof=lambda rays: rays.nbytes), lock=Lock())
def _rays(camera: Camera) -> NDArray[np.float64]:
    """(H·W, 3) rays of all pixels, NaN outside the lens model."""
    v, u = np.mgrid[: camera.height_px, : camera.width_px].astype(np.float64)
    return camera.unproject(np.stack([u.ravel(), v.ravel()], axis=-1))


def _walls(
    room: Room, origin: NDArray[np.float64], directions: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.float64]]:
    """Ray parameter at which each ray leaves the room, the axis of the wall it hits there, and the point hit."""
    exits = (np.where(directions > 0, room.high_m, room.low_m) - origin) / directions
    exits = np.where(np.isfinite(exits), exits, np.inf)
    axis = exits.argmin(axis=1)
    depth = np.take_along_axis(exits, axis[:, None], axis=1)[:, 0]
    return depth, axis, origin + directions * depth[:, None]


def _box(
    origin: NDArray[np.float64], directions: NDArray[np.float64], half_m: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Ray parameter of a box in its own frame (slabs, Kay and Kajiya 1986), inf if missed, and the axis of the face."""
    inverse = 1.0 / directions
    middle = -origin * inverse
    extent = half_m * np.abs(inverse)
    entries = middle - extent
    axis = entries.argmax(axis=1)
    near = np.take_along_axis(entries, axis[:, None], axis=1)[:, 0]
    far = (middle + extent).min(axis=1)
    return np.where((near < far) & (near > 0), near, np.inf), axis


def _wall_colour(
    room: Room, axis: NDArray[np.intp], directions: NDArray[np.float64], points: NDArray[np.float64]
) -> Floats:
    """Tiles of metric size on the floor, boards of half a metre and a skirting board on the walls, plain ceiling."""
    positive = np.take_along_axis(directions, axis[:, None], axis=1)[:, 0] > 0
    colour: Floats = room.wall_colours.astype(np.float32)[2 * axis + positive]
    x, y, z = points.T
    tiles = (np.floor(x / room.tile_m) + np.floor(z / room.tile_m)) % 2
    along = np.where(axis == 0, z, x)
    boards = np.floor(along / 0.5) % 2
    skirting = y > -0.1
    factor = np.where(axis == 1, np.where(positive, 0.7 + 0.3 * tiles, 1.0), 0.86 + 0.14 * boards)
    factor = np.where((axis != 1) & skirting, 0.4, factor)
    return colour * factor[:, None].astype(np.float32)


def _item_colour(
    base: Floats, inside: NDArray[np.float64], size_m: NDArray[np.float64], axis: NDArray[np.intp]
) -> Floats:
    """Colours of points on a box, whose faces have a dark rim of three centimetres."""
    rim = np.abs(np.abs(inside) - size_m / 2) < 0.03
    rim[np.arange(len(axis)), axis] = False
    return base * np.where(rim.any(axis=1), 0.55, 1.0)[:, None].astype(np.float32)


def _shade(points: NDArray[np.float64], normals: Floats, room: Room, camera_m: NDArray[np.float64]) -> Floats:
    """Lambert's law for a dim lamp below the ceiling and a bright one on the camera, over ambient light.

    As with a flash, near things are bright: distance shows in brightness as well as in size and perspective, so that a
    model of a million parameters learns it in minutes.
    """
    ceiling_m = np.array([0.0, room.low_m[1] + 0.2, 0.0])
    cosine, falloff = _lamp(camera_m, points, normals)
    ceiling_cosine, ceiling_falloff = _lamp(ceiling_m, points, normals)
    shade: Floats = 0.06 + 0.12 * ceiling_cosine * ceiling_falloff + (0.3 + 0.7 * cosine) * falloff
    return shade


def _lamp(lamp_m: NDArray[np.float64], points: NDArray[np.float64], normals: Floats) -> tuple[Floats, Floats]:
    """Cosine of the angle at which a lamp's light arrives, and how its strength falls with distance."""
    toward = (lamp_m - points).astype(np.float32)
    squared = np.einsum("ij,ij->i", toward, toward)
    cosine = np.einsum("ij,ij->i", toward, normals) / np.sqrt(np.maximum(squared, 1e-12))
    return np.clip(cosine, 0, 1), 1 / (1 + squared / np.float32(LAMP_REACH_M**2))
