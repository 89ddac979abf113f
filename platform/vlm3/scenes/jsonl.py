"""Reader of depth labels in JSON lines, as iBims-1 and DepthLM's sets have them.

A line is a mapping with `image` (path), `intrinsics` = [fx, fy, cx, cy, width, height], `pixel_coords` = [[x, y], …] and `depth` =
[metres, …] along the optical axis. Each line is a scene of its own.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from vlm3.errors import DataError
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.foreign import MAX_IMAGE_BYTES, MAX_INDEX_BYTES, fingerprint, path_inside, read_bounded
from vlm3.scenes.protocol import Rejection
from vlm3.scenes.schema import MAX_POINTS, Frame, IntrinsicsSource, Scale
from vlm3.seeds import generator

MAX_LINE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """Where a line is in its file."""

    number: int
    offset: int
    length: int
    image: str | None
    """None where the line cannot be read."""


@dataclass(frozen=True, slots=True)
class JsonLines:
    """Single views with depth at some of their pixels. Lines are found when it is opened and read when asked for."""

    labels: Path
    source: str
    lines: dict[str, Line]
    """Scene → its line."""

    @classmethod
    def open(cls, labels: Path, source: str) -> Self:
        """Find the lines of a file.

        Raises:
            DataError: the file is missing, too large, or holds no line with an image.
        """
        lines: dict[str, Line] = {}
        offset = 0
        for number, text in enumerate(read_bounded(labels, MAX_INDEX_BYTES).splitlines(keepends=True), start=1):
            if text.strip():
                image = _image_of(text)
                name = Path(image).stem if image is not None else f"line-{number}"
                scene = name if name not in lines else f"{name}-line-{number}"
                lines[scene] = Line(number, offset, len(text), image)
            offset += len(text)
        if not any(line.image is not None for line in lines.values()):
            raise DataError(
                f"{labels}: expected JSON lines with `image`, `intrinsics`, `pixel_coords` and `depth`; found none in {len(lines)} lines"
            )
        return cls(labels, source, lines)

    @property
    def posed(self) -> bool:
        """Single views have no poses."""
        return False

    def scenes(self) -> tuple[str, ...]:
        """One a line: the name of its image."""
        return tuple(self.lines)

    def frames(self, scene: str) -> Iterator[Frame | Rejection]:
        """Read the one frame of a line."""
        line = self.lines[scene]
        try:
            yield self._frame(scene, line)
        except (DataError, KeyError, TypeError, ValueError, RecursionError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            yield Rejection(self.source, scene, scene, f"{self.labels.name} line {line.number}: {reason}")

    def identity(self) -> str:
        """Hash of the labels and of the sizes of all images."""
        return fingerprint(self.labels, self.labels.parent, [line.image for line in self.lines.values()])

    def _frame(self, scene: str, line: Line) -> Frame:
        entry = self._parse(line)
        fx, fy, cx, cy, width, height = entry["intrinsics"]
        pixels, depth_m = np.array(entry["pixel_coords"], np.float64), np.array(entry["depth"], np.float64)
        if pixels.shape != (len(depth_m), 2) or depth_m.ndim != 1:
            raise DataError(
                f"expected as many pixel_coords (x, y) as depths, found shapes {pixels.shape} and {depth_m.shape}"
            )
        chosen = generator("labels", self.source, scene).permutation(len(depth_m))[:MAX_POINTS]
        camera = Camera(int(width), int(height), float(fx), float(fy), float(cx), float(cy))
        return Frame(
            source=self.source,
            scene=scene,
            frame=scene,
            camera_id=f"{camera.width_px}x{camera.height_px}-f{camera.fx_px:.1f}",
            encoded_image=read_bounded(path_inside(self.labels.parent, entry["image"]), MAX_IMAGE_BYTES),
            camera=camera,
            intrinsics_source=IntrinsicsSource.GIVEN,
            world_T_cam=None,
            scale=Scale.METRIC,
            depth_kind=DepthKind.Z,
            points=np.concatenate([pixels, depth_m[:, None]], axis=1)[chosen].astype(np.float32),
        )

    def _parse(self, line: Line) -> dict[str, Any]:
        if line.length > MAX_LINE_BYTES:
            raise DataError(f"{line.length} bytes, at most {MAX_LINE_BYTES} are read")
        with self.labels.open("rb") as file:
            file.seek(line.offset)
            entry = json.loads(file.read(line.length))
        if not isinstance(entry, dict):
            raise DataError(f"expected a mapping, found {entry!r:.100}")
        return entry


def _image_of(text: bytes) -> str | None:
    """The image of a line, None where it has none or is not JSON: the fault is told when the line is read."""
    try:
        image = json.loads(text)["image"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return image if isinstance(image, str) else None
