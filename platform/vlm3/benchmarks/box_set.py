"""Images with oriented boxes in the camera's frame (`boxes.json`): questions about objects are made from them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field

from vlm3.asking.items import Item, ObjectItem
from vlm3.benchmarks.frames import NO_POINTS, sound_image
from vlm3.errors import DataError
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.schema import Box, Frame, IntrinsicsSource, Scale
from vlm3.sources.foreign import MAX_IMAGE_BYTES, Number, fingerprint, path_inside, read_bounded
from vlm3.sources.foreign_keys import Keys
from vlm3.sources.names import frame_names, given, row_names
from vlm3.sources.records import RECORD, Four, Index, Listed, SizedRecord, read_index

INDEX = "boxes.json"
ORTHONORMAL = 1e-3
KEYS = Keys(RECORD - {"depth", "depth_scale", "scale", "T_world_cam"} | {"objects"})
OBJECT_KEYS = Keys(frozenset(("category", "center_cam_m", "size_lwh_m", "R_cam_obj", "bbox2d")))
Three = Annotated[tuple[Number, ...], Field(min_length=3, max_length=3)]


class ListedObject(Listed):
    """An object that a frame lists."""

    category: str
    center_cam_m: Three
    """Geometric centre, OpenCV axes."""
    size_lwh_m: Three
    """Full extents along the object's own axes."""
    R_cam_obj: Annotated[tuple[Three, ...], Field(min_length=3, max_length=3)]
    bbox2d: Four | None = None
    """x0, y0, x1, y1; an object without one cannot be named and is left out."""


class ListedFrame(SizedRecord):
    """A frame that the index lists."""

    objects: tuple[ListedObject, ...]


@dataclass(frozen=True, slots=True)
class BoxSet:
    """Images with oriented boxes; a row is a frame."""

    name: str
    folder: Path
    index: Index
    frames: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path, name: str) -> Self:
        """Read the index.

        Raises:
            DataError: no such file, it lists no frames, or two frames of a scene have the same name.
        """
        path = folder / INDEX
        index, content = read_index(path, "frames", KEYS)
        frames = content.get("frames")
        if not isinstance(frames, list) or not frames:
            raise DataError(f"{path}: expected a list `frames` with `image`, `K` and `objects`, found none")
        scenes = [given(frame, "scene") or "" for frame in frames]
        names = frame_names([{"id": given(frame, "id")} for frame in frames], scenes, f"{path}: frames")
        rows = row_names(zip(scenes, names, strict=True))
        return cls(name, folder, index, dict(zip(rows.values(), frames, strict=True)))

    def rows(self) -> tuple[str, ...]:
        """Names of the frames, made from their ids."""
        return tuple(self.frames)

    def read(self, row: str) -> tuple[Item, ...]:
        """The objects of a frame; empty where none can be named. Raises DataError or ConfigError naming what is bad."""
        entry = self.index.parse(ListedFrame, self.frames[row])
        for number, thing in enumerate(self.frames[row]["objects"]):
            fault = OBJECT_KEYS.fault(thing)
            if fault is not None:
                raise DataError(f"{INDEX}: objects.{number}: {fault}")
        named = (_box(thing, entry) for thing in entry.objects if thing.bbox2d is not None)
        boxes = tuple(box for box in named if box.region_px is not None and _shows(box.region_px))
        if not boxes:
            return ()
        frame = Frame(
            source=self.name,
            scene=row,
            frame=row,
            camera_id=f"{entry.width}x{entry.height}-f{entry.K[0]:.1f}",
            encoded_image=read_bounded(path_inside(self.folder, entry.image), MAX_IMAGE_BYTES),
            camera=entry.sized_camera(),
            intrinsics_source=IntrinsicsSource.GIVEN,
            world_T_cam=None,
            scale=Scale.METRIC,
            depth_kind=DepthKind.Z,
            points=NO_POINTS,
            boxes=boxes,
        )
        return (ObjectItem(row, row, sound_image(frame), None),)

    def identity(self) -> str:
        """Hash of the index and of the sizes of its images."""
        return fingerprint(self.folder, INDEX, [given(frame, "image") for frame in self.frames.values()])


def _shows(region_px: tuple[float, float, float, float]) -> bool:
    """Whether a region that was cut to the image is still at least one pixel wide and high."""
    x0, y0, x1, y1 = region_px
    return x1 - x0 >= 1 and y1 - y0 >= 1


def _box(thing: ListedObject, entry: ListedFrame) -> Box:
    assert thing.bbox2d is not None
    what = f"{thing.category} at {thing.bbox2d}"
    rotation = np.array(thing.R_cam_obj, np.float64)
    numbers = (*thing.center_cam_m, *thing.size_lwh_m, *thing.bbox2d, *rotation.ravel().tolist())
    if not all(math.isfinite(number) for number in numbers):
        raise DataError(f"{what}: its numbers hold NaN or infinity")
    if min(thing.size_lwh_m) <= 0:
        raise DataError(f"{what}: sizes must be positive, found {thing.size_lwh_m}")
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > ORTHONORMAL or np.linalg.det(rotation) < 0:
        raise DataError(f"{what}: R_cam_obj is no rotation")
    x0, y0, x1, y1 = thing.bbox2d
    if not (x0 < x1 and y0 < y1 and x1 > 0 and y1 > 0 and x0 < entry.width and y0 < entry.height):
        raise DataError(f"{what}: the region does not lie in the image of {entry.width}x{entry.height} px")
    last = (entry.width - 1.0, entry.height - 1.0)
    region = (max(x0, 0.0), max(y0, 0.0), min(x1, last[0]), min(y1, last[1]))
    center, size = thing.center_cam_m, thing.size_lwh_m
    return Box(
        label=thing.category,
        center_cam_m=(center[0], center[1], center[2]),
        size_m=(size[0], size[1], size[2]),
        cam_R_object=tuple(rotation.ravel().tolist()),
        region_px=region,
    )
