"""Oracles: models that know the published files of the real packs and answer from them in the printed precision.

They see what any model sees, the text of a question and images, and find the asked pixel by their own arithmetic.
Nothing of the code that makes questions or truths is used.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vlm3.asking.text_model import ImageBounds, TextRequest
from vlm3.asking.text_model import Reply as Said

FOCAL_PX = 1000.0
RANGE = 2000
"""Of points; boxes have 1000."""
BOX_RANGE = 1000
BOUNDS = ImageBounds(32, 1024, 1 << 24)
Array = NDArray[np.float64]
Reply = Callable[[TextRequest, str], str]


class Pinhole(NamedTuple):
    """As a file lists it."""

    fx: float
    fy: float
    cx: float
    cy: float


@dataclass(frozen=True)
class Oracle:
    """Answers question by question."""

    reply: Reply
    bounds: ImageBounds = BOUNDS

    def answer(self, request: TextRequest) -> list[Said]:
        return [Said(self.reply(request, question)) for question in request.questions]


def depth_lines(folder: Path) -> Reply:
    """Distance along the ray at a pixel of `labels.jsonl`."""
    lines = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
    known = {Path(line["image"]).stem: line for line in lines}

    def reply(request: TextRequest, question: str) -> str:
        line = known[request.item]
        camera, pixels = Pinhole(*line["intrinsics"][:4]), np.array(line["pixel_coords"], np.float64)
        at = _nearest(_asked_px(request, question, camera), pixels)
        return f"{line['depth'][at] * _ray_over_z(pixels[at], camera):.2f}"

    return reply


def rgbd(folder: Path) -> Reply:
    """Depth from the depth images; matches and poses of the listed pairs from the listed transforms."""
    index = json.loads((folder / "frames.json").read_text())
    frames = {frame["id"]: frame for frame in index["frames"]}
    pairs = {f"{pair['a']}-{pair['b']}": pair for pair in index.get("pairs", [])}

    def z_m(frame: dict[str, Any], pixel: Array) -> float:
        units = cv2.imread(str(folder / frame["depth"]), cv2.IMREAD_UNCHANGED)
        return float(units[int(pixel[1]), int(pixel[0])]) / float(frame.get("depth_scale", 1000))

    def reply(request: TextRequest, question: str) -> str:
        if request.item in frames:
            frame = frames[request.item]
            camera = Pinhole(*frame["K"])
            pixel = np.rint(_asked_px(request, question, camera))
            return f"{z_m(frame, pixel) * _ray_over_z(pixel, camera):.2f}"
        pair = pairs[request.item]
        b_T_a = np.array(pair["T_b_from_a"])
        if "(" not in question or "Where in the second" not in question:
            return pose_reply(np.linalg.inv(b_T_a), question)
        first, second = frames[pair["a"]], frames[pair["b"]]
        camera1, camera2 = Pinhole(*first["K"]), Pinhole(*second["K"])
        pixel = np.rint(_asked_px(request, question, camera1))
        ray = np.array([(pixel[0] - camera1.cx) / camera1.fx, (pixel[1] - camera1.cy) / camera1.fy, 1.0])
        x, y, z = b_T_a[:3, :3] @ (ray * z_m(first, pixel)) + b_T_a[:3, 3]
        place = np.array([camera2.fx * x / z + camera2.cx, camera2.fy * y / z + camera2.cy])
        return _name(place, request.images[1], camera2)

    return reply


def listed_pairs(folder: Path) -> Reply:
    """Matches and poses of `pairs.json`."""
    index = json.loads((folder / "pairs.json").read_text())
    cameras = {entry["image"]: Pinhole(*entry["K"]) for entry in index["images"]}

    def reply(request: TextRequest, question: str) -> str:
        pair = index["pairs"][int(request.item[:5])]
        if "Where in the second" not in question:
            return pose_reply(np.linalg.inv(np.array(pair["T_b_from_a"])), question)
        points = np.array(pair["correspondences"])[:, :4]
        at = _nearest(_asked_px(request, question, cameras[pair["a"]]), points[:, :2])
        return _name(points[at, 2:], request.images[1], cameras[pair["b"]])

    return reply


def posed_images(folder: Path) -> Reply:
    """Poses between following frames."""
    frames = json.loads((folder / "frames.json").read_text())["frames"]

    def reply(request: TextRequest, question: str) -> str:
        number = int(request.item[:5])
        first, second = (np.array(frames[number + step]["T_world_cam"]) for step in (0, 1))
        return pose_reply(np.linalg.inv(first) @ second, question)

    return reply


def pose_reply(cam1_T_cam2: Array, question: str) -> str:
    """What is asked about a pose, by scipy's Euler angles."""
    rotation, moved = Rotation.from_matrix(cam1_T_cam2[:3, :3]), cam1_T_cam2[:3, 3]
    if "yaw" in question:
        yaw, pitch, roll = rotation.as_euler("YXZ", degrees=True)
        return f"yaw {yaw:.1f}, pitch {pitch:.1f}, roll {roll:.1f}"
    if "degrees" in question:
        return f"{np.rad2deg(rotation.magnitude()):.1f}"
    if "words" in question:
        x, y, z = moved / np.linalg.norm(moved)
        named = [("left", "right")[int(x > 0)]] if abs(x) > 0.5 else []
        return f"{', '.join(named)} ({x:.2f}, {y:.2f}, {z:.2f})"
    assert "metres" in question, question
    return f"{np.linalg.norm(moved):.2f}"


def objects(folder: Path) -> Reply:
    """Everything that is asked about the boxes of `boxes.json`."""
    frames = {frame["id"]: frame for frame in json.loads((folder / "boxes.json").read_text())["frames"]}

    def reply(request: TextRequest, question: str) -> str:
        frame = frames[request.item]
        things = [thing for thing in frame["objects"] if thing["bbox2d"] is not None]
        boxes = [_meant(request, place, things, Pinhole(*frame["K"])) for place in re.findall(_BOX, question)]
        return object_reply([Corners.of(box) for box in boxes], question)

    return reply


class Corners(NamedTuple):
    """A box as its centre, its eight corners, and what the corners span."""

    center: Array
    rotation: Array
    size: Array
    low: Array
    high: Array

    @classmethod
    def of(cls, thing: dict[str, Any]) -> "Corners":
        rotation, size, center = (np.array(thing[key]) for key in ("R_cam_obj", "size_lwh_m", "center_cam_m"))
        corners = np.array([rotation @ (np.array(signs) * size / 2) + center for signs in product((-1, 1), repeat=3)])
        return cls(center, rotation, size, corners.min(axis=0), corners.max(axis=0))


def object_reply(boxes: list[Corners], question: str) -> str:
    """The answer to a question about boxes in the order in which it names them."""
    first, second = boxes[0], boxes[-1]
    spans = [box.high - box.low for box in (first, second)]
    if "How wide" in question:
        return f"{spans[0][0]:.2f}"
    if "How tall" in question:
        return f"{spans[0][1]:.2f}"
    if "nearest to each other" in question:
        return f"{_apart_m(first, second):.2f}"
    if "from left to right" in question:
        return f"{abs(first.center[0] - second.center[0]):.2f}"
    if "from top to bottom" in question:
        return f"{abs(first.center[1] - second.center[1]):.2f}"
    if "At which hour" in question:
        x, _, z = second.center - first.center
        return f"{round(np.rad2deg(np.arctan2(x, z)) / 30) % 12 or 12} o'clock"
    for words, more in _RELATIONS.items():
        if any(re.search(rf"(\) |is ){word}( the object|\?)", question) for word in words):
            holds = more(first, second)
            return ("region 1" if holds else "region 2") if "which of the two" in question else "yes" if holds else "no"
    raise AssertionError(question)


def _volume(box: Corners) -> float:
    return float(np.prod(box.high - box.low))


_RELATIONS: dict[tuple[str, ...], Callable[[Corners, Corners], bool]] = {
    ("below", "lower"): lambda a, b: a.center[1] > b.center[1],
    ("above", "higher"): lambda a, b: a.center[1] < b.center[1],
    ("to the left of", "further to the left"): lambda a, b: a.center[0] < b.center[0],
    ("to the right of", "further to the right"): lambda a, b: a.center[0] > b.center[0],
    ("bigger than", "bigger"): lambda a, b: _volume(a) > _volume(b),
    ("smaller than", "smaller"): lambda a, b: _volume(a) < _volume(b),
    ("taller than", "taller"): lambda a, b: (a.high - a.low)[1] > (b.high - b.low)[1],
    ("shorter than", "shorter"): lambda a, b: (a.high - a.low)[1] < (b.high - b.low)[1],
    ("wider than", "wider"): lambda a, b: (a.high - a.low)[0] > (b.high - b.low)[0],
    ("thinner than", "thinner"): lambda a, b: (a.high - a.low)[0] < (b.high - b.low)[0],
    ("behind", "further back"): lambda a, b: a.low[2] > b.low[2],
    ("in front of", "closer to the camera"): lambda a, b: a.low[2] < b.low[2],
}
_BOX = r"\((\d+), (\d+), (\d+), (\d+)\)"


def _meant(request: TextRequest, names: tuple[str, ...], things: list[dict[str, Any]], camera: Pinhole) -> Any:
    """The object whose region is nearest to a named one."""
    height, width = request.images[0].shape[:2]
    unified = np.array(list(map(int, names)), np.float64).reshape(2, 2) * [width, height] / BOX_RANGE
    region = _original_px(unified, camera)
    regions = np.array([thing["bbox2d"] for thing in things]).reshape(-1, 2, 2)
    return things[int(np.abs(regions - region).sum(axis=(1, 2)).argmin())]


def _apart_m(first: Corners, second: Corners) -> float:
    """By turns the nearest point of one box to a point of the other: converges to the nearest pair (Cheney 1959)."""
    point = first.center
    for _ in range(3000):
        here = _held(second, point)
        point = _held(first, here)
    return float(np.linalg.norm(point - here))


def _held(box: Corners, point: Array) -> Array:
    inside = (point - box.center) @ box.rotation
    held: Array = box.center + box.rotation @ np.clip(inside, -box.size / 2, box.size / 2)
    return held


def _asked_px(request: TextRequest, question: str, camera: Pinhole) -> Array:
    """The original pixel that a question names in the unified, padded first image."""
    place = re.search(r"\((\d+), (\d+)\)", question)
    assert place is not None, question
    height, width = request.images[0].shape[:2]
    return _original_px(np.array([int(place[1]) * width, int(place[2]) * height]) / RANGE, camera)


def _original_px(unified_px: Array, camera: Pinhole) -> Array:
    original: Array = (unified_px + 0.5) * [camera.fx / FOCAL_PX, camera.fy / FOCAL_PX] - 0.5
    return original


def _name(point_px: Array, image: NDArray[np.uint8], camera: Pinhole) -> str:
    """The name of an original pixel in a unified, padded image."""
    unified = (point_px + 0.5) * [FOCAL_PX / camera.fx, FOCAL_PX / camera.fy] - 0.5
    x, y = np.rint(unified / [image.shape[1], image.shape[0]] * RANGE).astype(int).tolist()
    return f"({x}, {y})"


def _ray_over_z(point_px: Array, camera: Pinhole) -> float:
    x, y = (point_px - [camera.cx, camera.cy]) / [camera.fx, camera.fy]
    return float(np.sqrt(x * x + y * y + 1))


def _nearest(point_px: Array, known_px: Array) -> int:
    """Index of the listed pixel that is meant; names round to less than a pixel."""
    distance = np.linalg.norm(known_px - point_px, axis=1)
    assert distance.min() < 1.0, f"{point_px} is {distance.min():.2f} px from the next listed pixel"
    return int(distance.argmin())
