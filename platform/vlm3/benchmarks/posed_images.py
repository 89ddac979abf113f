"""Posed images without depth (`frames.json`): the relative pose of frames that follow each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

from vlm3.asking.items import Item, PairItem
from vlm3.benchmarks.frames import NOTHING
from vlm3.benchmarks.pair_set import image_frame
from vlm3.errors import DataError
from vlm3.geometry.rigid import relative
from vlm3.scenes.schema import Scale
from vlm3.sources.foreign import fingerprint
from vlm3.sources.names import frame_names, given
from vlm3.sources.records import Index, SizedRecord, read_index
from vlm3.sources.rgbd import INDEX, KEYS


class Following(NamedTuple):
    """Two frames of a scene that follow each other: their entries as they stand in the file."""

    scene: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True)
class PosedImages:
    """Posed images; a row is a pair of frames that follow each other."""

    name: str
    folder: Path
    index: Index
    pairs: Mapping[str, Following]

    @classmethod
    def open(cls, folder: Path, name: str) -> Self:
        """Read the index; `"scale": "metric"` at its top says that translations are metres.

        Raises:
            DataError: no such file, no scene with two frames, or two frames of a scene have the same name.
        """
        path = folder / INDEX
        index, content = read_index(path, "frames", KEYS)
        entries = content.get("frames")
        if not isinstance(entries, list) or len(entries) < 2:
            raise DataError(f"{path}: expected a list `frames` of at least two posed images, found none")
        scenes = [given(entry, "scene") or index.shared.get("scene") or name for entry in entries]
        frame_names(entries, scenes, f"{path}: frames")
        by_scene: dict[str, list[Any]] = {}
        for scene, entry in zip(scenes, entries, strict=True):
            by_scene.setdefault(scene, []).append(entry)
        following = [Following(scene, a, b) for scene, listed in by_scene.items() for a, b in pairwise(listed)]
        if not following:
            raise DataError(f"{path}: expected a scene with at least two frames, found {len(by_scene)} scenes of one")
        pairs = {f"{n:05d}-{_stem(pair.first)}-{_stem(pair.second)}": pair for n, pair in enumerate(following)}
        return cls(name, folder, index, pairs)

    def rows(self) -> tuple[str, ...]:
        """Names of the pairs: place in the file, and images."""
        return tuple(self.pairs)

    def read(self, row: str) -> tuple[Item, ...]:
        """One pair. Raises DataError or ConfigError naming what is bad."""
        pair = self.pairs[row]
        listed = [self.index.parse(SizedRecord, entry) for entry in (pair.first, pair.second)]
        scale = Scale.METRIC if all(entry.scale is Scale.METRIC for entry in listed) else Scale.RELATIVE
        frame1, frame2 = (image_frame(entry, self.folder, self.name, pair.scene, scale) for entry in listed)
        if frame1.world_T_cam is None or frame2.world_T_cam is None:
            raise DataError("expected T_world_cam of both frames")
        moved = relative(frame1.world_T_cam, frame2.world_T_cam)
        return (PairItem(row, row, frame1, frame2, moved, NOTHING, NOTHING),)

    def identity(self) -> str:
        """Hash of the index and of the sizes of its images."""
        return fingerprint(
            self.folder, INDEX, [given(entry, "image") for pair in self.pairs.values() for entry in pair[1:]]
        )


def _stem(entry: object) -> str:
    return Path(given(entry, "image") or "unnamed").stem
