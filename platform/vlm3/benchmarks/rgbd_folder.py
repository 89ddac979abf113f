"""RGB-D folders (`frames.json`): depth of each frame; pose and correspondence of pairs where frames have poses."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import ConfigDict, Field

from vlm3.benchmarks.frames import check_agrees, depth_item, pair_item, rigid, sound
from vlm3.benchmarks.items import MOST_POINTS, Item
from vlm3.config import StrictModel
from vlm3.errors import DataError, UserError
from vlm3.geometry.rigid import invert
from vlm3.scenes.foreign import Number, read_json
from vlm3.scenes.rgbd import INDEX, RgbdReader
from vlm3.scenes.schema import Frame
from vlm3.views.pairs import clip_pairs

CHOSEN_FRAMES = 40
"""Frames of a scene among which pairs are sought where the file lists none."""
CHOSEN_PAIRS = 100
Row4 = Annotated[tuple[Number, ...], Field(min_length=4, max_length=4)]


class ListedPair(StrictModel):
    """A pair of the index."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=True)

    a: str
    b: str
    T_b_from_a: tuple[Row4, ...] | None = None
    """X_b = T · X_a."""


class Row(NamedTuple):
    """What a row shows."""

    scene: str
    frame1: str
    frame2: str | None
    listed: object
    """The pair as it stands in the file."""


@dataclass(frozen=True, slots=True)
class RgbdFolder:
    """A row is a frame or a pair."""

    name: str
    reader: RgbdReader
    shown: Mapping[str, Row]

    @classmethod
    def open(cls, folder: Path, name: str) -> Self:
        """Read the index, and choose pairs where it lists none.

        Raises:
            DataError: as `RgbdReader.open`, or a listed pair names a frame that is not there.
        """
        reader = RgbdReader.open(folder, name)
        named = [(frame, scene) for scene, frames in reader.entries.items() for frame, _ in frames]
        twice = sorted({frame for frame, count in Counter(frame for frame, _ in named).items() if count > 1})
        if twice:
            raise DataError(
                f"{folder / INDEX}: {len(twice)} frames share their name with another, {twice[0]!r} first: give each an"
                " `id` of its own"
            )
        scene_of = dict(named)
        shown = {frame: Row(scene, frame, None, None) for frame, scene in scene_of.items()}
        if reader.posed:
            listed = read_json(folder / INDEX).get("pairs")
            pairs = _listed(listed, scene_of, folder) if listed else _chosen(reader)
            shown |= {f"{row.frame1}-{row.frame2}": row for row in pairs}
        return cls(name, reader, shown)

    def rows(self) -> tuple[str, ...]:
        """Frames, then pairs."""
        return tuple(self.shown)

    def read(self, row: str) -> tuple[Item, ...]:
        """Depth of a frame, or pose and correspondence of a pair. Raises DataError naming what is bad."""
        shown = self.shown[row]
        frame1 = self._frame(shown.scene, shown.frame1)
        if shown.frame2 is None:
            # Frames of a video are alike, but a file of one scene would give a single group, and so no interval at all.
            return (depth_item(row, row, frame1, MOST_POINTS),)
        item = pair_item(row, row, frame1, self._frame(shown.scene, shown.frame2))
        if shown.listed is not None:
            listed = ListedPair.parse(shown.listed, f"{INDEX}: pair {row}")
            if listed.T_b_from_a is not None and item.cam1_T_cam2 is not None:
                check_agrees(rigid(listed.T_b_from_a, "T_b_from_a"), invert(item.cam1_T_cam2), "T_b_from_a")
        return (item,)

    def identity(self) -> str:
        """Of the index and its files."""
        return self.reader.identity()

    def _frame(self, scene: str, name: str) -> Frame:
        try:
            return sound(self.reader.frame(scene, name))
        except UserError as error:
            raise DataError(f"frame {name}: {error}") from None


def _listed(listed: object, scene_of: Mapping[str, str], folder: Path) -> list[Row]:
    if not isinstance(listed, list):
        raise DataError(f"{folder / INDEX}: `pairs` must be a list, found {type(listed).__name__}")
    rows = []
    for number, entry in enumerate(listed):
        pair = ListedPair.parse(entry, f"{folder / INDEX}: pairs.{number}")
        for frame in (pair.a, pair.b):
            if frame not in scene_of:
                raise DataError(f"{folder / INDEX}: pairs.{number} names frame {frame!r}, which is not listed")
        if scene_of[pair.a] != scene_of[pair.b]:
            raise DataError(f"{folder / INDEX}: pairs.{number}: {pair.a} and {pair.b} are of different scenes")
        rows.append(Row(scene_of[pair.a], pair.a, pair.b, entry))
    return rows


def _chosen(reader: RgbdReader) -> list[Row]:
    """Pairs that see enough of the same, spread evenly over all such pairs of each scene; bad frames are in none."""
    rows = []
    for scene, entries in reader.entries.items():
        names = [name for name, _ in entries]
        names = names[:: max(1, -(-len(names) // CHOSEN_FRAMES))]
        frames = []
        for name in names:
            try:
                frames.append(sound(reader.frame(scene, name)))
            except UserError:
                continue  # named when its own row is read
        pairs = [pair for pair in clip_pairs(frames) if not pair.pose_only]
        rows += [
            Row(scene, frames[pair.first].frame, frames[pair.second].frame, None)
            for pair in pairs[:: max(1, -(-len(pairs) // CHOSEN_PAIRS))]
        ]
    return rows
