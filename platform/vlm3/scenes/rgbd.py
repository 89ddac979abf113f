"""Reader of posed RGB-D folders: `frames.json` beside colour and 16-bit depth images.

A frame is a mapping with `image`, `depth` (paths), `K` = [fx, fy, cx, cy] and, if posed, `T_world_cam` (4×4 camera to world,
OpenCV axes, metres). Optional: `id`, `scene`, `depth_scale` (units per metre, default 1000), `distortion_k1k2p1p2`.
Depth is along the optical axis, 0 and 65535 mean none, aligned with colour.
"""

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vlm3.errors import DataError
from vlm3.geometry.camera import Camera, Distortion
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.depth_labels import random_labels, shrink_depth
from vlm3.scenes.foreign import MAX_IMAGE_BYTES, MAX_INDEX_BYTES, fingerprint, path_inside, read_bounded
from vlm3.scenes.protocol import Rejection
from vlm3.scenes.schema import Frame, FullDepth, IntrinsicsSource, Scale
from vlm3.seeds import generator

INDEX = "frames.json"
DEFAULT_UNITS_PER_M = 1000.0
NO_DEPTH = (0, 65535)


@dataclass(frozen=True, slots=True)
class RgbdFolder:
    """Frames of a `frames.json`: one scene, or as many as the frames name; unposed frames are scenes of their own."""

    folder: Path
    source: str
    posed: bool
    entries: Mapping[str, tuple[tuple[str, Any], ...]]
    """Scene → (frame id, the frame's entry as it stands in the file)."""

    @classmethod
    def open(cls, folder: Path, source: str) -> Self:
        """Read the index; images are read later.

        Raises:
            DataError: `frames.json` is missing, is not such a file, or lists no frame with depth.
        """
        path = folder / INDEX
        try:
            entries = json.loads(read_bounded(path, MAX_INDEX_BYTES))["frames"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"{path}: expected JSON with a list `frames`: {type(error).__name__}: {error}") from None
        if not isinstance(entries, list) or not any(isinstance(entry, dict) and "depth" in entry for entry in entries):
            raise DataError(
                f"{path}: expected a list `frames` of mappings with `image`, `depth` and `K`; none has `depth`"
            )
        posed = any(isinstance(entry, dict) and "T_world_cam" in entry for entry in entries)
        scenes: dict[str, list[tuple[str, Any]]] = {}
        for number, entry in enumerate(entries):
            name = _name(entry, number)
            given = entry.get("scene") if isinstance(entry, dict) else None
            scene = str(given) if given is not None else folder.resolve().name if posed else name
            scenes.setdefault(scene, []).append((name, entry))
        return cls(folder, source, posed, {scene: tuple(frames) for scene, frames in scenes.items()})

    def scenes(self) -> tuple[str, ...]:
        """Names of all scenes, in the order of the file."""
        return tuple(self.entries)

    def frames(self, scene: str) -> Iterator[Frame | Rejection]:
        """Read the frames of a scene."""
        for name, entry in self.entries[scene]:
            try:
                yield self._frame(scene, name, entry)
            except (DataError, KeyError, TypeError, ValueError) as error:
                reason = f"{INDEX} lacks {error} here" if isinstance(error, KeyError) else str(error)
                yield Rejection(self.source, scene, name, reason)

    def identity(self) -> str:
        """Hash of the index and of the sizes of all files it names."""
        listed = [entry for frames in self.entries.values() for _, entry in frames if isinstance(entry, dict)]
        files = [entry.get(key) for entry in listed for key in ("image", "depth")]
        return fingerprint(self.folder / INDEX, self.folder, files)

    def _frame(self, scene: str, name: str, entry: Any) -> Frame:
        if not isinstance(entry, dict):
            raise DataError(f"expected a mapping in {INDEX}, found {entry!r:.100}")
        if self.posed and "T_world_cam" not in entry:
            raise DataError("it has no T_world_cam, other frames have one")
        encoded_depth = read_bounded(path_inside(self.folder, entry["depth"]), MAX_IMAGE_BYTES)
        units = _decode_depth(encoded_depth)
        height_px, width_px = units.shape
        camera = _camera(entry, width_px, height_px)
        metres_per_unit = 1.0 / _number(entry.get("depth_scale", DEFAULT_UNITS_PER_M), "depth_scale")
        z_depth_m = np.where(np.isin(units, NO_DEPTH), np.nan, units * metres_per_unit)
        return Frame(
            source=self.source,
            scene=scene,
            frame=name,
            camera_id=f"{camera.width_px}x{camera.height_px}-f{camera.fx_px:.1f}",
            encoded_image=read_bounded(path_inside(self.folder, entry["image"]), MAX_IMAGE_BYTES),
            camera=camera,
            intrinsics_source=IntrinsicsSource.GIVEN,
            world_T_cam=np.array(entry["T_world_cam"], np.float64) if self.posed else None,
            scale=Scale.METRIC,
            depth_kind=DepthKind.Z,
            points=random_labels(z_depth_m, generator("labels", self.source, scene, name)),
            small_depth=shrink_depth(z_depth_m, camera),
            full_depth=FullDepth(_zero_means_none(units, encoded_depth), metres_per_unit),
        )


def _name(entry: Any, number: int) -> str:
    """A frame's id, its image's name without folder and ending, or its place in the list."""
    given = entry.get("id", entry.get("image")) if isinstance(entry, dict) else None
    return str(given) if isinstance(given, int) else Path(given).stem if isinstance(given, str) else f"number-{number}"


def _camera(entry: Mapping[str, Any], width_px: int, height_px: int) -> Camera:
    k = entry["K"]
    if not isinstance(k, list) or len(k) != 4:
        raise DataError(f"expected K = [fx, fy, cx, cy], found {k!r:.100}")
    said = (entry.get("width", width_px), entry.get("height", height_px))
    if said != (width_px, height_px):
        raise DataError(
            f"depth is {width_px}x{height_px} px, {INDEX} says {said[0]}x{said[1]}: depth must be aligned with colour"
        )
    intrinsics = [float(value) for value in k]
    lens = tuple(float(value) for value in entry.get("distortion_k1k2p1p2", ()))
    return Camera(width_px, height_px, *intrinsics, Distortion.BROWN if lens else Distortion.NONE, lens)


def _number(value: object, name: str) -> float:
    if not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise DataError(f"expected a positive number as {name}, found {value!r:.100}")
    return float(value)


def _decode_depth(encoded: bytes) -> NDArray[np.uint16]:
    """(H, W) of a 16-bit PNG."""
    try:
        with Image.open(io.BytesIO(encoded), formats=["PNG"]) as image:
            units = np.asarray(image)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise DataError(f"unreadable depth image: {error}") from None
    if units.dtype != np.uint16 or units.ndim != 2:
        raise DataError(f"expected a depth image of one channel and 16 bits, found {units.dtype} {units.shape}")
    return units


def _zero_means_none(units: NDArray[np.uint16], encoded: bytes) -> bytes:
    """The depth image with 0 as the only invalid value: the file itself where that holds already."""
    if not (units == NO_DEPTH[1]).any():
        return encoded
    buffer = io.BytesIO()
    Image.fromarray(np.where(units == NO_DEPTH[1], 0, units).astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()
