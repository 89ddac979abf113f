"""Possible meanings of a stored pose: the convention we expect, and the usual mistakes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlm3.geometry.rigid import invert

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PoseReading:
    """One way to read a stored 4×4 matrix as `world_T_cam` with OpenCV axes."""

    name: str
    """Description of poses of this kind, for users."""
    mend: str
    """Advice on how to turn them into `world_T_cam`."""
    undo: Callable[[Array], Array]
    """Turns the stored matrix into the transform from the stored camera's axes to the world."""
    stored_R_cv: Array
    """(3, 3) OpenCV's camera axes in the stored camera's axes; a reflection if the latter are left-handed."""

    def __call__(self, stored: Array) -> Array:
        """`world_T_cam` (4, 4) with OpenCV axes, for a matrix `stored` in this convention."""
        world_T_cam = self.undo(stored).copy()
        world_T_cam[:3, :3] = world_T_cam[:3, :3] @ self.stored_R_cv
        return world_T_cam


def _as_stored(stored: Array) -> Array:
    return stored


def _rotation_inverted(stored: Array) -> Array:
    """Undo [Rᵀ | C]: the centre is right, the rotation is that of world-to-camera."""
    turned = stored.copy()
    turned[:3, :3] = stored[:3, :3].T
    return turned


def _translation_inverted(stored: Array) -> Array:
    """Undo [R | −Rᵀ·C]: the rotation is right, the translation is that of world-to-camera."""
    moved = stored.copy()
    moved[:3, 3] = -stored[:3, :3] @ stored[:3, 3]
    return moved


_CV, _GL = np.eye(3), np.diag([1.0, -1.0, -1.0])
_BODY = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])

GIVEN = PoseReading("world_T_cam with OpenCV axes", "", _as_stored, _CV)
POSE_CONVENTIONS = (
    GIVEN,
    PoseReading("world_T_cam inverted (world-to-camera)", "invert every pose: world_T_cam = inv(pose)", invert, _CV),
    PoseReading(
        "OpenGL axes (y up, z backward)",
        "negate columns 2 and 3 of every rotation: pose @ diag(1, -1, -1, 1)",
        _as_stored,
        _GL,
    ),
    PoseReading(
        "world_T_cam inverted and OpenGL axes (an OpenGL view matrix)",
        "invert every pose, then negate columns 2 and 3 of its rotation: inv(pose) @ diag(1, -1, -1, 1)",
        invert,
        _GL,
    ),
    PoseReading(
        "mirrored left to right",
        "undo the reflection in x: diag(-1, 1, 1, 1) @ pose @ diag(-1, 1, 1, 1), or flip the images back",
        _as_stored,
        np.diag([-1.0, 1.0, 1.0]),
    ),
    PoseReading(
        "mirrored top to bottom (left-handed axes with y up, as in Unity)",
        "undo the reflection in y: diag(1, -1, 1, 1) @ pose @ diag(1, -1, 1, 1)",
        _as_stored,
        np.diag([1.0, -1.0, 1.0]),
    ),
    PoseReading(
        "mirrored front to back (z backward, x and y as in OpenCV)",
        "undo the reflection in z: diag(1, 1, -1, 1) @ pose @ diag(1, 1, -1, 1)",
        _as_stored,
        np.diag([1.0, 1.0, -1.0]),
    ),
    PoseReading("centre of the camera negated", "negate the translation of every pose", _as_stored, -np.eye(3)),
    PoseReading(
        "robot axes (x forward, y left, z up)",
        "reorder the columns of every rotation: pose[:3, :3] @ [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]",
        _as_stored,
        _BODY,
    ),
    PoseReading(
        "centre of the camera beside the rotation of world-to-camera",
        "transpose the rotation of every pose",
        _rotation_inverted,
        _CV,
    ),
    PoseReading(
        "rotation of the camera beside the translation of world-to-camera",
        "compute the centre of every camera: C = -R @ t",
        _translation_inverted,
        _CV,
    ),
)
"""The expected convention, then the usual mistakes."""
