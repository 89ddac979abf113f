"""Reader of depth labels in JSON lines, as iBims-1 and other sets are published for DepthLM: one image a line.

Depth is along the optical axis, in metres. Each line is a scene of its own.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import ConfigDict, Field

from vlm3.config import StrictModel
from vlm3.errors import DataError, UserError
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.foreign import MAX_IMAGE_BYTES, MAX_INDEX_BYTES, Number, fingerprint, path_inside, read_bounded
from vlm3.scenes.protocol import Rejection
from vlm3.scenes.schema import MAX_POINTS, Frame, IntrinsicsSource, Scale
from vlm3.seeds import generator

Size = Annotated[int, Field(ge=1, le=65536)]


class Labels(StrictModel):
    """One line of the file."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=True)

    image: str
    intrinsics: tuple[Number, Number, Number, Number, Size, Size]
    """fx, fy, cx, cy, width, height."""
    pixel_coords: tuple[tuple[Number, Number], ...]
    """x (column), y (row), counted from 0."""
    depth: tuple[Number, ...]
    """Metres, one a pixel."""


@dataclass(frozen=True, slots=True)
class Line:
    """Where a line is in its file."""

    number: int
    offset: int
    length: int
    image: str | None
    """None where the line cannot be read."""


@dataclass(frozen=True, slots=True)
class JsonLinesReader:
    """Single views with depth at some pixels. Lines are found when the file is opened and read when asked for."""

    file: Path
    source: str
    lines: dict[str, Line]
    """Scene → its line."""

    @classmethod
    def open(cls, file: Path, source: str) -> Self:
        """Find the lines of a file.

        Raises:
            DataError: the file is missing, too large, or no line names an image.
        """
        lines: dict[str, Line] = {}
        offset = 0
        for number, text in enumerate(read_bounded(file, MAX_INDEX_BYTES).split(b"\n"), start=1):
            if text.strip():
                image = _image_of(text)
                name = f"line-{number}" if image is None else Path(image).stem
                lines[name if name not in lines else f"{name}-line-{number}"] = Line(number, offset, len(text), image)
            offset += len(text) + 1
        if not any(line.image for line in lines.values()):
            raise DataError(
                f"{file}: expected JSON lines with `image`, `intrinsics`, `pixel_coords` and `depth`,"
                f" found no such line among {len(lines)}"
            )
        return cls(file, source, lines)

    @property
    def posed(self) -> bool:
        """Single views have no poses."""
        return False

    def scenes(self) -> tuple[str, ...]:
        """One a line, called as its image."""
        return tuple(self.lines)

    def frames(self, scene: str) -> Iterator[Frame | Rejection]:
        """Read the one frame of a line."""
        line = self.lines[scene]
        try:
            yield self._frame(scene, self._parse(line))
        except UserError as error:
            yield Rejection(self.source, scene, scene, f"{self.file.name} line {line.number}: {error}")

    def identity(self) -> str:
        """Hash of the labels and of the sizes of all images."""
        return fingerprint(self.file.parent, self.file.name, [line.image for line in self.lines.values()])

    def _parse(self, line: Line) -> Labels:
        with self.file.open("rb") as stream:
            stream.seek(line.offset)
            text = stream.read(line.length)
        try:
            return Labels.parse(json.loads(text), "labels")
        except (ValueError, RecursionError) as error:
            raise DataError(f"not JSON: {error}") from None

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
            camera=Camera(width_px, height_px, fx, fy, cx, cy),
            intrinsics_source=IntrinsicsSource.GIVEN,
            world_T_cam=None,
            scale=Scale.METRIC,
            depth_kind=DepthKind.Z,
            points=points,
        )


def _image_of(text: bytes) -> str | None:
    """The image of a line, None where it names none or is not JSON: the fault is told when the line is read."""
    try:
        image = json.loads(text)["image"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return image if isinstance(image, str) and image else None
