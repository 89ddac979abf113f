"""Posed images without depth (`frames.json`): the pose between frames that follow each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

from vlm3.benchmarks.frames import NOTHING
from vlm3.benchmarks.items import Item, PairItem
from vlm3.benchmarks.pair_set import ListedImage, image_frame
from vlm3.errors import DataError
from vlm3.geometry.rigid import relative
from vlm3.scenes.foreign import fingerprint, read_json
from vlm3.scenes.rgbd import INDEX
from vlm3.scenes.schema import Scale


class Following(NamedTuple):
    """Entries of two frames of a scene as they stand in the file."""

    scene: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True)
class PosedImages:
    """A row is a pair of frames that follow each other."""

    name: str
    folder: Path
    scale: Scale
    pairs: Mapping[str, Following]

    @classmethod
    def open(cls, folder: Path, name: str) -> Self:
        """Read the index; `"scale": "metric"` at its top says that translations are metres.

        Raises:
            DataError: no such file, or fewer than two posed frames in it.
        """
        path = folder / INDEX
        index = read_json(path)
        entries = index.get("frames") if isinstance(index, dict) else None
        if not isinstance(entries, list) or len(entries) < 2:
            raise DataError(f"{path}: expected a list `frames` of at least two posed images, found none")
        scale = Scale.METRIC if index.get("scale") == Scale.METRIC.value else Scale.RELATIVE
        by_scene: dict[str, list[Any]] = {}
        for entry in entries:
            by_scene.setdefault(_scene(entry, name), []).append(entry)
        following = [Following(scene, a, b) for scene, listed in by_scene.items() for a, b in pairwise(listed)]
        pairs = {f"{n:05d}-{_stem(pair.first)}-{_stem(pair.second)}": pair for n, pair in enumerate(following)}
        return cls(name, folder, scale, pairs)

    def rows(self) -> tuple[str, ...]:
        """Pairs, called by their place and images."""
        return tuple(self.pairs)

    def read(self, row: str) -> tuple[Item, ...]:
        """One pair. Raises DataError naming what is bad."""
        pair = self.pairs[row]
        listed = [ListedImage.parse(entry, INDEX) for entry in (pair.first, pair.second)]
        frame1, frame2 = (image_frame(entry, self.folder, self.name, pair.scene, self.scale) for entry in listed)
        if frame1.world_T_cam is None or frame2.world_T_cam is None:
            raise DataError("expected T_world_cam of both frames")
        moved = relative(frame1.world_T_cam, frame2.world_T_cam)
        return (PairItem(row, row, frame1, frame2, moved, NOTHING, NOTHING),)

    def identity(self) -> str:
        """Hash of the index and of the sizes of its images."""
        return fingerprint(self.folder, INDEX, [_image(entry) for pair in self.pairs.values() for entry in pair[1:]])


def _scene(entry: object, default: str) -> str:
    scene = entry.get("scene") if isinstance(entry, dict) else None
    return scene if isinstance(scene, str) else default


def _image(entry: object) -> str | None:
    image = entry.get("image") if isinstance(entry, dict) else None
    return image if isinstance(image, str) else None


def _stem(entry: object) -> str:
    return Path(_image(entry) or "unnamed").stem
