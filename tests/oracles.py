"""Oracles: models that know the published files and answer from them in the printed precision.

They see what any model sees, the text of a question, and find the asked pixel by their own arithmetic. Nothing of the
code that makes questions or truths is used.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vlm3.infer.text_model import ImageBounds, TextRequest

FOCAL_PX = 1000.0
RANGE = 2000
"""Of depth and, here, of correspondence: names every third of a pixel of the packs' images."""
Array = NDArray[np.float64]


class Pinhole(NamedTuple):
    """fx, fy, cx, cy as a file lists them."""

    fx: float
    fy: float
    cx: float
    cy: float


BOUNDS = ImageBounds(32, 1024, 1 << 24)


@dataclass(frozen=True)
class Oracle:
    """Answers each question of an item by the function of that item."""

    answers: Callable[[TextRequest, str], str]
    bounds: ImageBounds = BOUNDS

    def answer(self, request: TextRequest) -> list[str]:
        return [self.answers(request, question) for question in request.questions]


def asked_px(request: TextRequest, question: str, camera: Pinhole) -> Array:
    """(2,) the original pixel that a question names in the unified, padded first image."""
    place = re.search(r"\((\d+), (\d+)\)", question)
    assert place is not None, question
    height, width = request.images[0].shape[:2]
    unified = np.array([int(place[1]) * width, int(place[2]) * height]) / RANGE
    return original_px(unified, camera)


def original_px(unified_px: Array, camera: Pinhole) -> Array:
    return (unified_px + 0.5) * np.array([camera.fx, camera.fy]) / FOCAL_PX - 0.5


def place(point_px: Array, image: NDArray[np.uint8], camera: Pinhole) -> str:
    """The name of an original pixel in a unified, padded image."""
    unified = (point_px + 0.5) * FOCAL_PX / np.array([camera.fx, camera.fy]) - 0.5
    x, y = np.rint(unified / [image.shape[1], image.shape[0]] * RANGE).astype(int).tolist()
    return f"({x}, {y})"


def ray_over_z(point_px: Array, camera: Pinhole) -> float:
    x, y = (point_px - [camera.cx, camera.cy]) / [camera.fx, camera.fy]
    return float(np.sqrt(x * x + y * y + 1))


def nearest(point_px: Array, known_px: Array) -> int:
    """Index of the listed pixel that is meant; names round to less than a pixel."""
    distance = np.linalg.norm(known_px - point_px, axis=1)
    assert distance.min() < 1.0, f"{point_px} is {distance.min():.2f} px from the next listed pixel"
    return int(distance.argmin())


def pose_answer(cam1_T_cam2: Array, question: str) -> str:
    """What vlm3-1 asks about a pose, by scipy's Euler angles."""
    rotation, moved = Rotation.from_matrix(cam1_T_cam2[:3, :3]), cam1_T_cam2[:3, 3]
    if "yaw" in question:
        yaw, pitch, roll = rotation.as_euler("YXZ", degrees=True)
        return f"yaw {yaw:.1f}, pitch {pitch:.1f}, roll {roll:.1f}"
    if "degrees" in question:
        return f"{np.rad2deg(rotation.magnitude()):.1f}"
    if "words" in question:
        x, y, z = moved / np.linalg.norm(moved)
        words = ["right" if x > 0 else "left"] if abs(x) > 0.5 else []
        return f"{', '.join(words)} ({x:.2f}, {y:.2f}, {z:.2f})"
    assert "metres" in question, question
    return f"{np.linalg.norm(moved):.2f}"
