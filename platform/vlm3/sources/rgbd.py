"""Reader of RGB-D folders: `frames.json` beside colour images and 16-bit depth PNGs.

Depth is along the optical axis and aligned with colour; 0 and 65535 mean no depth. A frame belongs to the scene that it
or the top of the file names. Where none is named, the frames of a file with poses make one scene, else each its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vlm3.errors import DataError, UserError
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind
from vlm3.geometry.rigid import check_rigid, orthonormalize
from vlm3.scenes.depth_labels import random_labels, shrink_depth
from vlm3.scenes.protocol import Rejection
from vlm3.scenes.schema import Frame, FullDepth, IntrinsicsSource, Scale
from vlm3.seeds import generator
from vlm3.sources.foreign import MAX_IMAGE_BYTES, Number, fingerprint, path_inside, read_bounded
from vlm3.sources.foreign_keys import Keys
from vlm3.sources.names import first_names, frame_names, given, same_pictures
from vlm3.sources.records import LISTS, RECORD, Index, Record, read_index
from vlm3.storage.images import decode_size

INDEX = "frames.json"
MILLIMETRES = 1000.0
NO_DEPTH = (0, 65535)
KEYS = Keys(RECORD, dict.fromkeys(LISTS, "the top of the file"))
READING = 2
"""Version of this reader: goes up when the same index gives other frames."""


class Entry(Record):
    """One frame of the index."""

    depth: str
    depth_scale: Annotated[Number, Field(gt=0, allow_inf_nan=False)] = MILLIMETRES
    """Stored units per metre."""


@dataclass(frozen=True, slots=True)
class RgbdReader:
    """Frames of a `frames.json`."""

    folder: Path
    source: str
    posed: bool
    index: Index
    entries: Mapping[str, Mapping[str, Any]]
    """Scene → name of the frame → its entry as it stands in the file."""
    read_anew: bool
    """Whether version 1 of this reader gave other frames."""

    @classmethod
    def open(cls, folder: Path, source: str) -> Self:
        """Read the index; images are read later.

        Raises:
            DataError: `frames.json` is missing or not JSON, lists no frame with depth, has a key at its top that does
                not belong there, or two frames of a scene have the same name.
        """
        path = folder / INDEX
        index, content = read_index(path, "frames", KEYS)
        entries = content.get("frames")
        if not isinstance(entries, list) or not any(has_depth(entry) for entry in entries):
            raise DataError(
                f"{path}: expected a list `frames` of mappings with `image`, `depth` and `K`, found"
                f" {_first_fault(entries, index) or 'none'}"
            )
        posed = any(isinstance(entry, dict) and entry.get("T_world_cam") is not None for entry in entries)
        all_of_one = index.shared.get("scene") or (folder.resolve().name if posed else None)
        said = [given(entry, "scene") or all_of_one for entry in entries]
        names = frame_names(entries, said, f"{path}: frames")
        scenes: dict[str, dict[str, Any]] = {}
        for name, scene, entry in zip(names, said, entries, strict=True):
            frames = scenes.setdefault(name if scene is None else scene, {})
            if name in frames:
                raise DataError(f"{path}: scene {scene or name!r:.200} has two frames {name!r:.200}: give each an `id`")
            frames[name] = entry
        anew = index.shared or names != first_names(entries) or any(_read_anew(entry, index) for entry in entries)
        return cls(folder, source, posed, index, scenes, bool(anew))

    def scenes(self) -> tuple[str, ...]:
        """Names of all scenes, in the order of the file."""
        return tuple(self.entries)

    def frames(self, scene: str) -> Iterator[Frame | Rejection]:
        """Read the frames of a scene."""
        for name in self.entries[scene]:
            try:
                yield self.frame(scene, name)
            except UserError as error:
                yield Rejection(self.source, scene, name, str(error))

    def frame(self, scene: str, name: str) -> Frame:
        """Read one frame.

        Raises:
            DataError: the frame or one of its files is bad.
            ConfigError: its entry lacks a key, or a key has an invalid value.
        """
        return self._frame(scene, name, self.index.parse(Entry, self.entries[scene][name]))

    def same_pictures(self) -> Mapping[str, str]:
        """As `vlm3.sources.names.same_pictures`."""
        shown = ((scene, given(entry, "image")) for scene, frames in self.entries.items() for entry in frames.values())
        return same_pictures(self.folder, shown)

    def identity(self) -> str:
        """Hash of the index and of the sizes of all files it names."""
        listed = [entry for frames in self.entries.values() for entry in frames.values()]
        named = [entry.get(key) if isinstance(entry, dict) else None for entry in listed for key in ("image", "depth")]
        found = fingerprint(self.folder, INDEX, named)
        return f"{found}-{READING}" if self.read_anew or self.same_pictures() else found

    def _frame(self, scene: str, name: str, entry: Entry) -> Frame:
        if self.posed and entry.T_world_cam is None:
            raise DataError("it has no T_world_cam, other frames have one")
        png = read_bounded(path_inside(self.folder, entry.depth), MAX_IMAGE_BYTES)
        units = _decode_depth(png)
        camera = _camera(entry, *units.shape)
        z_depth_m = np.where(np.isin(units, NO_DEPTH), np.nan, units / entry.depth_scale)
        return Frame(
            source=self.source,
            scene=scene,
            frame=name,
            camera_id=f"{camera.width_px}x{camera.height_px}-f{camera.fx_px:.1f}",
            encoded_image=read_bounded(path_inside(self.folder, entry.image), MAX_IMAGE_BYTES),
            camera=camera,
            intrinsics_source=IntrinsicsSource.GIVEN,
            world_T_cam=None if entry.T_world_cam is None else _pose(entry.T_world_cam),
            scale=entry.scale or Scale.METRIC,
            depth_kind=DepthKind.Z,
            points=random_labels(z_depth_m, camera, generator("labels", self.source, scene, name)),
            small_depth=shrink_depth(z_depth_m, camera),
            full_depth=FullDepth(_zero_means_none(units, png), 1 / entry.depth_scale),
        )


def has_depth(entry: Any) -> bool:
    """Whether an entry names a depth image."""
    return isinstance(entry, dict) and entry.get("depth") is not None


def _first_fault(entries: Any, index: Index) -> str | None:
    first = next((e for e in entries if isinstance(e, dict)), {}) if isinstance(entries, list) else {}
    return index.keys.fault(first, index.shared)


def _read_anew(entry: Any, index: Index) -> bool:
    if not isinstance(entry, dict):
        return False
    return not {"distortion", "coefficients"}.isdisjoint(entry) or index.keys.fault(entry, index.shared) is not None


def _camera(entry: Entry, height_px: int, width_px: int) -> Camera:
    said = (entry.width or width_px, entry.height or height_px)
    if said != (width_px, height_px):
        raise DataError(
            f"depth is {width_px}x{height_px} px, {INDEX} says {said[0]}x{said[1]}: depth must be aligned with colour"
        )
    return entry.camera(width_px, height_px)


def _pose(rows: tuple[tuple[float, ...], ...]) -> NDArray[np.float64]:
    if len(rows) != 4 or any(len(row) != 4 for row in rows):
        raise DataError(f"T_world_cam: expected 4 rows of 4 numbers, found rows of {[len(row) for row in rows]}")
    world_T_cam = np.array(rows, np.float64)
    # Rounding in the file is undone; a matrix that was never rigid is left to the checks.
    return orthonormalize(world_T_cam) if check_rigid(world_T_cam) is None else world_T_cam


def _decode_depth(png: bytes) -> NDArray[np.uint16]:
    """(H, W) of a 16-bit PNG; its size is bounded before it is decoded."""
    try:
        width_px, height_px = decode_size(png)
    except DataError as error:
        raise DataError(f"unreadable depth: {error}") from None
    units: NDArray[np.uint16] | None = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if units is None or units.dtype != np.uint16 or units.shape != (height_px, width_px):
        found = "pixels that cannot be decoded" if units is None else f"{units.dtype} {units.shape}"
        raise DataError(f"unreadable depth: expected a PNG of one channel and 16 bits, found {found}")
    return units


def _zero_means_none(units: NDArray[np.uint16], png: bytes) -> bytes:
    """The depth image with 0 as the only invalid value: the file itself where that holds already."""
    if not (units == NO_DEPTH[1]).any():
        return png
    _, encoded = cv2.imencode(".png", np.where(units == NO_DEPTH[1], 0, units).astype(np.uint16))
    return bytes(encoded)
