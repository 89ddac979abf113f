"""Labelled pixels in JSON lines, as iBims-1 and other sets are published for DepthLM: one image a line."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field

from vlm3.config import StrictModel
from vlm3.errors import DataError, UserError
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.reader import MAX_INDEX_BYTES, Rejection, read_inside
from vlm3.scenes.schema import MAX_POINTS, Frame, IntrinsicsSource, Scale

Number = Annotated[float, Field(strict=False)]


class Line(StrictModel):
    """One line of the file."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")
    image: str
    intrinsics: Annotated[tuple[Number, ...], Field(min_length=6, max_length=6)]
    """fx, fy, cx, cy, width, height."""
    pixel_coords: tuple[tuple[Number, Number], ...]
    depth: tuple[Number, ...]
    """z-depth in metres."""


@dataclass(frozen=True, slots=True)
class JsonLinesReader:
    """Single views: each line is a scene of its own."""

    file: Path
    source: str

    @classmethod
    def open(cls, file: Path, source: str) -> "JsonLinesReader":
        """Raises DataError when the file is empty or too large."""
        size = file.stat().st_size
        if size == 0 or size > MAX_INDEX_BYTES:
            raise DataError(f"{file}: expected 1 to {MAX_INDEX_BYTES} bytes of JSON lines, found {size}")
        return cls(file, source)

    @property
    def posed(self) -> bool:
        """Single views have no poses."""
        return False

    def scenes(self) -> tuple[str, ...]:
        """One a line."""
        return tuple(_scene(number) for number, _ in self._lines())

    def frames(self, scene: str) -> Iterator[Frame | Rejection]:
        """The one frame of a scene."""
        for number, text in self._lines():
            if _scene(number) == scene:
                try:
                    yield self._frame(scene, text)
                except (UserError, ValueError) as error:
                    yield Rejection(self.source, scene, scene, f"line {number}: {error}")
                return

    def _lines(self) -> Iterator[tuple[int, str]]:
        with self.file.open(encoding="utf-8") as stream:
            for number, text in enumerate(stream, start=1):
                if text.strip():
                    yield number, text

    def _frame(self, scene: str, text: str) -> Frame:
        line = Line.parse(json.loads(text), "labels")
        if len(line.pixel_coords) != len(line.depth):
            raise DataError(f"{len(line.pixel_coords)} pixel_coords but {len(line.depth)} depths")
        fx, fy, cx, cy, width, height = line.intrinsics
        points = np.array([(*pixel, z) for pixel, z in zip(line.pixel_coords, line.depth, strict=True)], np.float32)
        return Frame(
            source=self.source,
            scene=scene,
            frame=Path(line.image).stem,
            camera_id="-".join(f"{value:g}" for value in line.intrinsics[:4]),
            encoded_image=read_inside(self.file.parent, line.image),
            camera=Camera(int(width), int(height), fx, fy, cx, cy),
            intrinsics_source=IntrinsicsSource.GIVEN,
            world_T_cam=None,
            scale=Scale.METRIC,
            depth_kind=DepthKind.Z,
            points=points.reshape(-1, 3)[:MAX_POINTS],
        )


def _scene(number: int) -> str:
    return f"line-{number:06d}"
