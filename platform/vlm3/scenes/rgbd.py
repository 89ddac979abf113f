"""RGB-D frames with a `frames.json`: image, depth PNG, K and, where posed, the camera-to-world pose of each frame."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from vlm3.config import StrictModel
from vlm3.errors import DataError, UserError
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.reader import Rejection, read_index, read_inside
from vlm3.scenes.schema import (
    MAX_POINTS,
    SMALL_DEPTH_LONG_SIDE_PX,
    DepthMap,
    Frame,
    FullDepth,
    IntrinsicsSource,
    Scale,
)
from vlm3.seeds import generator

INDEX = "frames.json"
MILLIMETRES = 1000.0
INVALID_UNITS = (0, 65535)
Number = Annotated[float, Field(strict=False)]


class FrameEntry(StrictModel):
    """One frame of the index; keys that depth does not need are left alone."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")
    id: str
    image: str
    depth: str
    width: Annotated[int, Field(ge=1, le=65536)]
    height: Annotated[int, Field(ge=1, le=65536)]
    K: Annotated[tuple[Number, ...], Field(min_length=4, max_length=4)]
    """fx, fy, cx, cy."""
    T_world_cam: tuple[tuple[Number, ...], ...] | None = None
    depth_scale: Annotated[float, Field(gt=0)] = MILLIMETRES
    """Stored units per metre."""
    scene: str | None = None


@dataclass(frozen=True, slots=True)
class RgbdReader:
    """Frames of one folder. Without poses each image is a scene of its own; with them the folder is one scene."""

    folder: Path
    source: str
    posed: bool

    @classmethod
    def open(cls, folder: Path, source: str) -> "RgbdReader":
        """Raises DataError when the index is malformed or empty."""
        entries = _entries(folder)
        posed = [isinstance(entry, dict) and entry.get("T_world_cam") is not None for entry in entries]
        return cls(folder, source, all(posed))

    def scenes(self) -> tuple[str, ...]:
        """Scenes in order of first appearance."""
        return tuple(dict.fromkeys(self._scene(index, entry) for index, entry in enumerate(_entries(self.folder))))

    def frames(self, scene: str) -> Iterator[Frame | Rejection]:
        """Frames of a scene; reads one at a time."""
        for index, entry in enumerate(_entries(self.folder)):
            if self._scene(index, entry) != scene:
                continue
            name = _name(index, entry)
            try:
                yield self._frame(scene, FrameEntry.parse(entry, f"frame {name}"))
            except UserError as error:
                yield Rejection(self.source, scene, name, str(error))

    def _scene(self, index: int, entry: Any) -> str:
        named = entry.get("scene") if isinstance(entry, dict) else None
        if isinstance(named, str):
            return named
        return self.source if self.posed else _name(index, entry)

    def _frame(self, scene: str, entry: FrameEntry) -> Frame:
        camera = Camera(entry.width, entry.height, *entry.K)
        png = read_inside(self.folder, entry.depth)
        units = decode_depth(png, entry.width, entry.height)
        z_depth_m = np.where(np.isin(units, INVALID_UNITS), np.nan, units / entry.depth_scale)
        pose = None if entry.T_world_cam is None else _pose(entry.T_world_cam)
        return Frame(
            source=self.source,
            scene=scene,
            frame=entry.id,
            camera_id="-".join(f"{value:g}" for value in entry.K),
            encoded_image=read_inside(self.folder, entry.image),
            camera=camera,
            intrinsics_source=IntrinsicsSource.GIVEN,
            world_T_cam=pose,
            scale=Scale.METRIC,
            depth_kind=DepthKind.Z,
            points=random_labels(z_depth_m, self.source, scene, entry.id),
            small_depth=nearest_small_depth(z_depth_m, camera),
            full_depth=FullDepth(png, 1 / entry.depth_scale),
        )


def decode_depth(png: bytes, width: int, height: int) -> NDArray[np.uint16]:
    """(H, W) stored units of a 16-bit PNG.

    Raises:
        DataError: not a 16-bit grey PNG of this size.
    """
    size = (int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big"))
    if not png.startswith(b"\x89PNG\r\n\x1a\n") or size != (width, height):
        raise DataError(f"depth: expected a PNG of {width}x{height} px, found {size[0]}x{size[1]}")
    units = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if units is None or units.dtype != np.uint16 or units.ndim != 2:
        raise DataError("depth: expected a 16-bit grey PNG whose pixels can be decoded")
    return units


def random_labels(z_depth_m: NDArray[np.floating], *key: str) -> NDArray[np.float32]:
    """Up to 1024 random valid pixels as (N, 3) u, v, z; the same for the same key."""
    valid = np.flatnonzero(np.isfinite(z_depth_m))
    chosen = generator("labels", *key).permutation(valid)[:MAX_POINTS]
    v, u = np.divmod(chosen, z_depth_m.shape[1])
    return np.stack([u, v, z_depth_m.ravel()[chosen]], axis=1).astype(np.float32)


def nearest_small_depth(z_depth_m: NDArray[np.floating], camera: Camera) -> DepthMap:
    """Every step-th pixel of a depth map: nearest samples, never averages across edges."""
    step = -(-max(z_depth_m.shape) // SMALL_DEPTH_LONG_SIDE_PX)
    first = (step - 1) // 2
    return DepthMap(
        z_depth_m[first::step, first::step].astype(np.float32),
        camera.fx_px / step,
        camera.fy_px / step,
        (camera.cx_px - first) / step,
        (camera.cy_px - first) / step,
    )


def _entries(folder: Path) -> list[Any]:
    index = read_index(folder / INDEX)
    entries = index.get("frames") if isinstance(index, dict) else None
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{folder / INDEX}: expected an object with a non-empty list 'frames'")
    return entries


def _name(index: int, entry: Any) -> str:
    named = entry.get("id") if isinstance(entry, dict) else None
    return named if isinstance(named, str) else f"row {index}"


def _pose(rows: tuple[tuple[float, ...], ...]) -> NDArray[np.float64]:
    if len(rows) != 4 or any(len(row) != 4 for row in rows):
        raise DataError(f"T_world_cam: expected 4 rows of 4 numbers, found {[len(row) for row in rows]}")
    return np.array(rows, np.float64)
