"""Reader of depth labels in JSON lines, as iBims-1 and other sets are published for DepthLM: one image per line.

Depth is along the optical axis, in metres. Each line is a scene of its own.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field

from vlm3.errors import DataError, UserError
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.protocol import Rejection
from vlm3.scenes.schema import MAX_POINTS, Frame, IntrinsicsSource, Scale
from vlm3.seeds import generator
from vlm3.sources.foreign import (
    MAX_IMAGE_BYTES,
    MAX_INDEX_BYTES,
    Number,
    fingerprint,
    parse_json,
    path_inside,
    read_bounded,
)
from vlm3.sources.foreign_keys import LENS, Keys
from vlm3.sources.names import given, same_pictures
from vlm3.sources.records import Lens, Whole, say_unread

Size = Annotated[Whole, Field(ge=1, le=65536)]
KEYS = Keys(frozenset((*LENS, "image", "intrinsics", "pixel_coords", "depth", "scene")))
READING = 2
"""Version of this reader: goes up when the same lines give other frames, or go to other splits."""


class Labels(Lens):
    """One line of the file."""

    image: str
    intrinsics: tuple[Number, Number, Number, Number, Size, Size]
    """fx, fy, cx, cy, width, height."""
    pixel_coords: tuple[tuple[Number, Number], ...]
    """x (column), y (row), counted from 0."""
    depth: tuple[Number, ...]
    """Metres, one for each pixel."""


@dataclass(frozen=True, slots=True)
class Line:
    """Where a line is in its file, and the image and scene that it names."""

    number: int
    offset: int
    length: int
    image: str | None
    """None where the line cannot be read."""
    scene: str | None
    """The scene that the line names: lines of the same scene are held out together."""
    read_anew: bool
    """Whether version 1 of this reader gave another frame."""


@dataclass(frozen=True, slots=True)
class JsonLinesReader:
    """Single views with depth at some pixels. Lines are found when the file is opened and read when asked for."""

    file: Path
    source: str
    lines: Mapping[str, Line]
    """Scene → its line."""

    @classmethod
    def open(cls, file: Path, source: str) -> Self:
        """Find the lines of a file.

        Raises:
            DataError: the file is missing, too large, or no line names an image.
        """
        lines: dict[str, Line] = {}
        offset, other_keys = 0, frozenset[str]()
        for number, text in enumerate(read_bounded(file, MAX_INDEX_BYTES).split(b"\n"), start=1):
            if text.strip():
                said = _said(text)
                image = given(said, "image") or None
                name = f"line-{number}" if image is None else Path(image).stem
                while name in lines:
                    name = f"{name}-line-{number}"
                anew = KEYS.fault(said) is not None or not said.keys().isdisjoint(LENS)
                lines[name] = Line(number, offset, len(text), image, given(said, "scene"), anew)
                other_keys |= KEYS.unknown(said)
            offset += len(text) + 1
        if not any(line.image for line in lines.values()):
            raise DataError(
                f"{file}: expected JSON lines with `image`, `intrinsics`, `pixel_coords` and `depth`,"
                f" found no such line among {len(lines)}"
            )
        say_unread(str(file), other_keys)
        return cls(file, source, lines)

    @property
    def posed(self) -> bool:
        """False: single views have no poses."""
        return False

    def scenes(self) -> tuple[str, ...]:
        """One scene per line, named after its image."""
        return tuple(self.lines)

    def frames(self, scene: str) -> Iterator[Frame | Rejection]:
        """Read the one frame of a line."""
        line = self.lines[scene]
        try:
            yield self._frame(scene, self._parse(line))
        except UserError as error:
            yield Rejection(self.source, scene, scene, f"{self.file.name} line {line.number}: {error}")

    def same_pictures(self) -> Mapping[str, str]:
        """As `vlm3.sources.names.same_pictures`; lines that name the same scene count as lines with one picture."""
        shown = ((name, line.image) for name, line in self.lines.items())
        told = {name: line.scene for name, line in self.lines.items() if line.scene is not None}
        return same_pictures(self.file.parent, shown, told)

    def identity(self) -> str:
        """Hash of the labels and of the sizes of all images."""
        found = fingerprint(self.file.parent, self.file.name, [line.image for line in self.lines.values()])
        anew = any(line.read_anew for line in self.lines.values()) or self.same_pictures()
        return f"{found}-{READING}" if anew else found

    def _parse(self, line: Line) -> Labels:
        with self.file.open("rb") as stream:
            stream.seek(line.offset)
            text = stream.read(line.length)
        try:
            said = parse_json(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"not JSON: {error}") from None
        fault = KEYS.fault(said) if isinstance(said, dict) else None
        if fault is not None:
            raise DataError(fault)
        return Labels.parse(said, "labels")

    def _frame(self, scene: str, labels: Labels) -> Frame:
        if len(labels.pixel_coords) != len(labels.depth):
            raise DataError(f"{len(labels.pixel_coords)} pixel_coords but {len(labels.depth)} depths")
        fx, fy, cx, cy, width_px, height_px = labels.intrinsics
        points = np.array(
            [(*pixel, depth_m) for pixel, depth_m in zip(labels.pixel_coords, labels.depth, strict=True)], np.float32
        ).reshape(-1, 3)
        if len(points) > MAX_POINTS:
            points = generator("labels", self.source, scene).permutation(points)[:MAX_POINTS]
        return Frame(
            source=self.source,
            scene=scene,
            frame=scene,
            camera_id=f"{width_px}x{height_px}-f{fx:.1f}",
            encoded_image=read_bounded(path_inside(self.file.parent, labels.image), MAX_IMAGE_BYTES),
            camera=Camera(width_px, height_px, fx, fy, cx, cy, *labels.lens()),
            intrinsics_source=IntrinsicsSource.GIVEN,
            world_T_cam=None,
            scale=Scale.METRIC,
            depth_kind=DepthKind.Z,
            points=points,
        )


def _said(text: bytes) -> dict[str, Any]:
    """The object on a line; empty where there is no JSON object: that fault is reported when the line is read."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
