"""The held-out split of an ingested source: depth and objects of its frames, pose and correspondence of its pairs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from vlm3.asking.items import Item, ObjectItem
from vlm3.benchmarks.frames import depth_item, pair_item, sound
from vlm3.benchmarks.items import FEWEST_SCENES, MOST_POINTS
from vlm3.errors import DataError
from vlm3.scenes.schema import Scale
from vlm3.scenes.sharded import ALL_COLUMNS, PAIR_COLUMNS, ShardedSource
from vlm3.sources.names import distinct
from vlm3.storage.split import Split
from vlm3.views.pairs import clip_pairs

MOST_FRAMES = 200
MOST_PAIRS = 100
PAIRS_A_CLIP = 4
FRAME_COLUMNS = tuple(name for name in ALL_COLUMNS if name not in ("full_depth", "small_depth"))


Place = tuple[str, str, str | None]
"""Scene, frame, and the other frame of a pair."""


class ShardRow(NamedTuple):
    """What a row shows: a clip by number, and frames by their places in the clip."""

    clip: int
    frame1: int
    frame2: int | None
    """None for a single frame."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The held-out split of a source; a row is a frame or a pair of a clip, spread evenly over the clips."""

    name: str
    source: ShardedSource
    shown: Mapping[str, ShardRow]
    by_scene: bool
    """Whether there are scenes enough for the bootstrap to draw them; else it draws rows."""

    @classmethod
    def open(cls, uri: str, name: str | None) -> Self:
        """Choose frames and pairs.

        Raises:
            DataError: no such source, or it has no held-out scene.
        """
        source = ShardedSource.open(uri)
        clips = source.clips(Split.EVAL)
        if clips == 0:
            raise DataError(f"{uri}: source {source.name!r} has no held-out scene: ingest it with --role eval")
        order = np.unique(np.linspace(0, clips - 1, min(clips, MOST_FRAMES)).round().astype(int)).tolist()
        shown: dict[Place, ShardRow] = {}
        pairs: dict[Place, ShardRow] = {}
        for clip in order:
            frames = source.read_clip(Split.EVAL, clip, tuple(c for c in PAIR_COLUMNS if c != "encoded_image"))
            every = max(1, -(-len(frames) * len(order) // MOST_FRAMES))
            for place in range(0, len(frames), every):
                shown[frames[place].scene, frames[place].frame, None] = ShardRow(clip, place, None)
            posed = clip_pairs(frames)
            for pair in posed[:: max(1, -(-len(posed) // PAIRS_A_CLIP))]:
                first, second = frames[pair.first], frames[pair.second]
                pairs[first.scene, first.frame, second.frame] = ShardRow(clip, pair.first, pair.second)
        scenes = {scene for scene, _, _ in shown}
        kept = list(pairs)[:: max(1, -(-len(pairs) // MOST_PAIRS))]
        shown |= {place: pairs[place] for place in kept}
        names = distinct({place: _text(place) for place in shown})
        rows = {row: shown[place] for place, row in names.items()}
        return cls(name or source.name, source, rows, len(scenes) >= FEWEST_SCENES)

    def rows(self) -> tuple[str, ...]:
        """Names of the frames, then of the pairs."""
        return tuple(self.shown)

    def read(self, row: str) -> tuple[Item, ...]:
        """Depth and objects of a frame, or pose and correspondence of a pair. Raises DataError naming what is bad."""
        shown = self.shown[row]
        columns = FRAME_COLUMNS if shown.frame2 is None else PAIR_COLUMNS
        frames = self.source.read_clip(Split.EVAL, shown.clip, columns)
        frame1 = sound(frames[shown.frame1])
        group = frame1.scene if self.by_scene else row
        if shown.frame2 is not None:
            return (pair_item(row, group, frame1, sound(frames[shown.frame2])),)
        items: list[Item] = []
        # In a scene of relative scale, depth in metres is unknown.
        if len(frame1.points) and frame1.scale is Scale.METRIC:
            items.append(depth_item(row, group, frame1, MOST_POINTS))
        if frame1.boxes:
            items.append(ObjectItem(row, group, frame1, None))
        return tuple(items)

    def identity(self) -> str:
        """The source's fingerprint."""
        return self.source.fingerprint


def _text(place: Place) -> str:
    scene, first, second = place
    return f"{scene}/{first}" if second is None else f"{scene}/{first}-{second}"
