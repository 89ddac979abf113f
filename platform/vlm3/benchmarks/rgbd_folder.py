"""RGB-D folders (`frames.json`): depth of each frame, and pose and correspondence of pairs if frames have poses."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from vlm3.asking.items import Item
from vlm3.benchmarks.frames import check_agrees, depth_item, pair_item, rigid, sound
from vlm3.benchmarks.items import MOST_POINTS
from vlm3.errors import DataError, UserError
from vlm3.geometry.rigid import invert
from vlm3.scenes.schema import Frame
from vlm3.sources.foreign import read_json
from vlm3.sources.foreign_keys import Keys
from vlm3.sources.names import distinct, row_names
from vlm3.sources.records import PAIR, Index, ListedPair
from vlm3.sources.rgbd import INDEX, RgbdReader
from vlm3.views.pairs import clip_pairs

CHOSEN_FRAMES = 40
"""Most frames of a scene among which pairs are chosen where the file lists none."""
CHOSEN_PAIRS = 100
PAIRS = Index(INDEX, {}, Keys(PAIR))


class FolderRow(NamedTuple):
    """What a row shows."""

    scene: str
    frame1: str
    frame2: str | None
    listed: object
    """The pair as it stands in the file; None for a frame or a chosen pair."""


@dataclass(frozen=True, slots=True)
class RgbdFolder:
    """An RGB-D folder; a row is a frame or a pair."""

    name: str
    reader: RgbdReader
    shown: Mapping[str, FolderRow]

    @classmethod
    def open(cls, folder: Path, name: str) -> Self:
        """Read the index, and choose pairs where it lists none.

        Raises:
            DataError: as `RgbdReader.open`, or a listed pair is bad, e.g. names a frame that is not there.
        """
        reader = RgbdReader.open(folder, name)
        rows = row_names((scene, frame) for scene, frames in reader.entries.items() for frame in frames)
        frames = {row: FolderRow(scene, frame, None, None) for (scene, frame), row in rows.items()}
        pairs: list[FolderRow] = []
        if reader.posed:
            listed = read_json(folder / INDEX).get("pairs")
            pairs = _listed(listed, frames, folder) if listed else _chosen(reader)
        shown = {(row.scene, row.frame1, row.frame2): row for row in (*frames.values(), *pairs)}
        wanted = {place: "-".join(rows[place[0], frame] for frame in place[1:] if frame is not None) for place in shown}
        return cls(name, reader, {row: shown[place] for place, row in distinct(wanted).items()})

    def rows(self) -> tuple[str, ...]:
        """Names of the frames, then of the pairs."""
        return tuple(self.shown)

    def read(self, row: str) -> tuple[Item, ...]:
        """Depth of a frame, or pose and correspondence of a pair.

        Raises:
            DataError, ConfigError: the row is bad; the message says why.
        """
        shown = self.shown[row]
        frame1 = self._frame(shown.scene, shown.frame1)
        if shown.frame2 is None:
            # A frame is its own group although frames of a video are alike: with scenes as groups, a file of one scene
            # would have a single group, and so no interval.
            return (depth_item(row, row, frame1, MOST_POINTS),)
        item = pair_item(row, row, frame1, self._frame(shown.scene, shown.frame2))
        if shown.listed is not None:
            listed = PAIRS.parse(ListedPair, shown.listed)
            if listed.T_b_from_a is not None and item.cam1_T_cam2 is not None:
                check_agrees(rigid(listed.T_b_from_a, "T_b_from_a"), invert(item.cam1_T_cam2), "T_b_from_a")
        return (item,)

    def identity(self) -> str:
        """Hash of the index and of the sizes of its files."""
        return self.reader.identity()

    def _frame(self, scene: str, name: str) -> Frame:
        try:
            return sound(self.reader.frame(scene, name))
        except UserError as error:
            raise DataError(f"frame {name}: {error}") from None


def _listed(listed: object, frames: Mapping[str, FolderRow], folder: Path) -> list[FolderRow]:
    if not isinstance(listed, list):
        raise DataError(f"{folder / INDEX}: `pairs` must be a list, found {type(listed).__name__}")
    rows = []
    for number, entry in enumerate(listed):
        where = f"{folder / INDEX}: pairs.{number}"
        try:
            pair = PAIRS.parse(ListedPair, entry)
        except UserError as error:
            raise DataError(f"{where}: {str(error).removeprefix(f'{INDEX}: ')}") from None
        for frame in (pair.a, pair.b):
            if frame not in frames:
                raise DataError(f"{where} names frame {frame!r}, which is not listed{_of_which_scene(frame, frames)}")
        a, b = frames[pair.a], frames[pair.b]
        if a.scene != b.scene:
            raise DataError(f"{where}: {pair.a} and {pair.b} are of different scenes")
        rows.append(FolderRow(a.scene, a.frame1, b.frame1, entry))
    return rows


def _of_which_scene(frame: str, frames: Mapping[str, FolderRow]) -> str:
    meant = next((row for row, shown in frames.items() if shown.frame1 == frame), None)
    return "" if meant is None else f" once: say of which scene, e.g. {meant!r}"


def _chosen(reader: RgbdReader) -> list[FolderRow]:
    """Pairs with enough overlap, spread evenly over all such pairs of each scene; bad frames are left out."""
    rows = []
    for scene, entries in reader.entries.items():
        names = list(entries)
        names = names[:: max(1, -(-len(names) // CHOSEN_FRAMES))]
        frames = []
        for name in names:
            try:
                frames.append(sound(reader.frame(scene, name)))
            except UserError:
                continue  # named when its own row is read
        pairs = [pair for pair in clip_pairs(frames) if not pair.pose_only]
        rows += [
            FolderRow(scene, frames[pair.first].frame, frames[pair.second].frame, None)
            for pair in pairs[:: max(1, -(-len(pairs) // CHOSEN_PAIRS))]
        ]
    return rows
