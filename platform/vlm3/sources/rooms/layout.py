"""Where things stand in a synthetic room: walls, furniture, and the path of a camera through it.

World axes: X right, Y down, Z forward; the floor is y = 0, so what stands on it has negative y.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Label: smallest and largest width (x), height (y), depth (z) in metres.
FURNITURE: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "chair": ((0.42, 0.8, 0.42), (0.55, 1.0, 0.55)),
    "table": ((1.0, 0.7, 0.6), (1.8, 0.78, 0.9)),
    "cabinet": ((0.6, 1.2, 0.4), (1.2, 2.0, 0.6)),
    "sofa": ((1.5, 0.75, 0.8), (2.2, 0.9, 1.0)),
    "crate": ((0.3, 0.3, 0.3), (0.6, 0.6, 0.6)),
    "lamp": ((0.2, 1.4, 0.2), (0.3, 1.7, 0.3)),
}
WALL_MARGIN_M = 0.35
CLEARANCE_M = 0.7
"""Least distance between the camera's path and furniture."""


@dataclass(frozen=True, slots=True, eq=False)
class Furniture:
    """A piece of furniture: one oriented box."""

    label: str
    center_m: Array
    size_m: Array
    yaw_rad: float
    colour: Array

    @property
    def world_R_object(self) -> Array:
        """(3, 3) rotation; columns are the object's axes in the world."""
        from scipy.spatial.transform import Rotation

        rotation: Array = Rotation.from_euler("y", self.yaw_rad).as_matrix()
        return rotation


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """A furnished room and the poses from which it is seen."""

    low_m: Array
    high_m: Array
    furniture: tuple[Furniture, ...]
    wall_colours: Array
    """(6, 3) colours of -x, +x, ceiling, floor, -z, +z."""
    tile_m: float
    world_T_cam: tuple[Array, ...]


def furnish(rng: np.random.Generator, frames: int, size_range_m: tuple[float, float], extra_furniture: int = 0) -> Room:
    """A random room with a camera path of `frames` poses.

    Args:
        rng: decides everything.
        frames: number of poses.
        size_range_m: shortest and longest side.
        extra_furniture: pieces tried besides those that go with the room's size.
    """
    width, depth = rng.uniform(*size_range_m, size=2)
    height = rng.uniform(2.3, 3.2)
    low, high = np.array([-width / 2, -height, -depth / 2]), np.array([width / 2, 0.0, depth / 2])
    poses = _path(rng, low, high, frames)
    colours = rng.uniform(0.7, 0.9, (6, 3))
    return Room(
        low, high, _place(rng, low, high, poses, extra_furniture), colours, float(rng.choice([0.4, 0.5, 0.6])), poses
    )


def _path(rng: np.random.Generator, low: Array, high: Array, frames: int) -> tuple[Array, ...]:
    """Poses that look across the room, with small steps and turns, so that neighbours see the same things."""
    from scipy.spatial.transform import Rotation

    floor_low, floor_high = low[[0, 2]] + WALL_MARGIN_M, high[[0, 2]] - WALL_MARGIN_M
    position = rng.uniform(floor_low, floor_high)
    eye_m = rng.uniform(1.2, 1.8)
    toward = -position / max(float(np.linalg.norm(position)), 1e-6)
    yaw = np.arctan2(toward[0], toward[1]) + rng.uniform(-0.7, 0.7)
    heading, turn = rng.uniform(-np.pi, np.pi), rng.uniform(-0.12, 0.12)
    pitch = rng.uniform(-0.3, 0.0)
    poses = []
    for _ in range(frames):
        pose = np.eye(4)
        angles = [yaw, pitch + rng.normal(0, 0.02), rng.normal(0, 0.015)]
        pose[:3, :3] = Rotation.from_euler("YXZ", angles).as_matrix()
        pose[:3, 3] = position[0], -eye_m + rng.normal(0, 0.02), position[1]
        poses.append(pose)
        step = rng.uniform(0.08, 0.25) * np.array([np.sin(heading), np.cos(heading)])
        position = np.clip(position + step, floor_low, floor_high)
        heading += rng.normal(0, 0.3)
        yaw += turn + rng.normal(0, 0.06)
    return tuple(poses)


def _place(
    rng: np.random.Generator, low: Array, high: Array, poses: tuple[Array, ...], extra: int
) -> tuple[Furniture, ...]:
    """Furniture drawn at random; pieces that overlap others or stand in the camera's way are left out."""
    path = np.array([pose[[0, 2], 3] for pose in poses])
    area = float((high[0] - low[0]) * (high[2] - low[2]))
    placed: list[Furniture] = []
    for _ in range(int(rng.integers(3, 4 + min(8, int(area / 4)))) + extra):
        label = str(rng.choice(list(FURNITURE)))
        size = rng.uniform(*FURNITURE[label])
        reach = float(np.hypot(size[0], size[2])) / 2
        spot = rng.uniform(low[[0, 2]] + reach, np.maximum(high[[0, 2]] - reach, low[[0, 2]] + reach + 1e-3))
        yaw, colour = float(rng.uniform(-np.pi, np.pi)), rng.uniform(0.45, 0.95, 3)
        fits = (spot + reach < high[[0, 2]]).all() and (np.linalg.norm(path - spot, axis=1) > reach + CLEARANCE_M).all()
        apart = all(
            np.linalg.norm(other.center_m[[0, 2]] - spot) > reach + np.hypot(other.size_m[0], other.size_m[2]) / 2
            for other in placed
        )
        if fits and apart:
            placed.append(Furniture(label, np.array([spot[0], -size[1] / 2, spot[1]]), size, yaw, colour))
    return tuple(placed)
