"""What one ingest task does: some scenes in, their shards out. No Ray here: tests and tools call it directly."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from pydantic import Field

from vlm3.config import StrictModel
from vlm3.scenes.checks import check_frame
from vlm3.scenes.clips import FrameIndices, posed_clips, single_view_clips, split_of_scene
from vlm3.scenes.rows import ENCODED_COLUMNS, SCHEMA, frames_to_table
from vlm3.scenes.schema import Frame
from vlm3.seeds import derive_seed, generator
from vlm3.sources.reader import Rejection, SceneReader
from vlm3.storage.shards import Shard, ShardWriter, shard_path
from vlm3.storage.split import Split
from vlm3.storage.store import Store

MIN_GROUPS = 8
"""Fewest groups of a split (if it has as many scenes), so that small sources are ingested in parallel too."""
CLIPS_PER_SINGLE_VIEW_GROUP = 4


class IngestConfig(StrictModel):
    """How a source becomes shards. Everything here changes the shards, and so the source's identity."""

    role: Literal["train", "eval"] = "train"
    """`eval` sources are held out whole and cannot be given weight."""
    seed: int = 0
    heldout_share: float = Field(0.1, ge=0, lt=1)
    """Share of the scenes of a `train` source that goes to its eval split."""
    clip_frames: int = Field(16, ge=1, le=1024)
    slots_per_clip: int = Field(16, ge=1)
    """Samples drawn from a clip in one pass over the source."""
    shard_bytes: int = Field(128 * 2**20, ge=2**16, le=2**31)
    """A shard is closed when it has reached this size; 64 to 512 MB suits object stores."""
    window_frames: int = Field(512, ge=2)
    """Frames of a scene held in memory while clips are chosen among them."""
    max_rejected_share: float = Field(0.1, ge=0, le=1)


@dataclass(frozen=True, slots=True)
class SceneGroup:
    """Scenes whose shards one task writes."""

    split: Split
    number: int
    scenes: tuple[str, ...]


@dataclass(slots=True)
class GroupResult:
    """What a task reports about its group."""

    group: SceneGroup
    shards: list[Shard] = field(default_factory=list)
    frames_kept: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    scales: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class GroupWriter:
    """Turns groups of scenes into shards; picklable, and the same group gives the same bytes on any machine."""

    reader: SceneReader
    store: Store
    config: IngestConfig
    generation: int

    def __call__(self, group: SceneGroup) -> GroupResult:
        """Read, check, choose clips, write shards; holds one window of frames and one shard in memory."""
        result = GroupResult(group)
        writer: ShardWriter | None = None
        for window in self._windows(group, result):
            for clip in self._clips(window):
                writer = writer or ShardWriter(SCHEMA, ENCODED_COLUMNS)
                writer.add(frames_to_table([window[member] for member in clip], writer.clips))
                if writer.size_bytes >= self.config.shard_bytes:
                    self._commit(writer, result)
                    writer = None
        if writer is not None:
            self._commit(writer, result)
        return result

    def _commit(self, writer: ShardWriter, result: GroupResult) -> None:
        path = shard_path(result.group.split, self.generation, result.group.number, len(result.shards))
        result.shards.append(writer.commit(self.store, path))

    def _windows(self, group: SceneGroup, result: GroupResult) -> Iterator[list[Frame]]:
        """Good frames in portions: of one scene if posed, across scenes if they are single views."""
        buffer: list[Frame] = []
        for scene in group.scenes:
            for item in self.reader.frames(scene):
                fault = item if isinstance(item, Rejection) else check_frame(item)
                if fault is not None:
                    result.rejections.append(fault)
                    continue
                assert isinstance(item, Frame)
                buffer.append(item)
                result.frames_kept += 1
                result.scales.add(item.scale.value)
                # Waits for a whole clip beyond the window, so that what is left of a scene always fills a clip.
                if len(buffer) >= self.config.window_frames + self.config.clip_frames:
                    yield buffer[: self.config.window_frames]
                    buffer = buffer[self.config.window_frames :]
            if self.reader.posed and buffer:
                yield buffer
                buffer = []
        if buffer:
            yield buffer

    def _clips(self, window: Sequence[Frame]) -> tuple[FrameIndices, ...]:
        seed = derive_seed(self.config.seed, "clips", self.reader.source, window[0].scene, window[0].frame)
        if self.reader.posed:
            return posed_clips(window, self.config.clip_frames, seed)
        return single_view_clips([frame.scene for frame in window], self.config.clip_frames, seed)


def scene_groups(reader: SceneReader, config: IngestConfig) -> tuple[SceneGroup, ...]:
    """Every scene of a source, in groups of about one shard each; depends on the data and the config alone."""
    scenes = reader.scenes()
    splits: dict[Split, list[str]] = {split: [] for split in Split}
    first = reader.same_pictures()
    for scene in scenes:
        splits[_split_of(reader.source, first.get(scene, scene), config)].append(scene)
    if config.role == "train" and not splits[Split.TRAIN]:
        # Chance can hold out all of a few scenes, which would leave nothing to train on.
        splits = {Split.TRAIN: list(scenes), Split.EVAL: []}
    scene_bytes = _first_scene_bytes(reader, scenes, config.shard_bytes)
    groups: list[SceneGroup] = []
    for split, members in splits.items():
        names = members if reader.posed else _shuffled(members, config.seed, reader.source, split)
        count = _group_count(len(names), scene_bytes, reader.posed, config)
        chunks = np.array_split(np.arange(len(names)), count) if names else []
        groups += [SceneGroup(split, i, tuple(names[j] for j in chunk)) for i, chunk in enumerate(chunks)]
    return tuple(groups)


def _split_of(source: str, scene: str, config: IngestConfig) -> Split:
    if config.role == "eval":
        return Split.EVAL
    return split_of_scene(source, scene, config.heldout_share, config.seed)


def _group_count(scenes: int, scene_bytes: int, posed: bool, config: IngestConfig) -> int:
    wanted = max(MIN_GROUPS, -(-scenes * scene_bytes // config.shard_bytes))
    # Clips of single views mix scenes, so a group needs several clips' worth of them.
    most = scenes if posed else scenes // (CLIPS_PER_SINGLE_VIEW_GROUP * config.clip_frames)
    return max(1, min(wanted, most))


def _first_scene_bytes(reader: SceneReader, scenes: Sequence[str], enough: int) -> int:
    """Bytes that the first scene takes in a shard; counting stops once there are `enough`."""
    total = 0
    for item in reader.frames(scenes[0]) if scenes else ():
        if isinstance(item, Frame):
            total += len(item.encoded_image) + item.points.nbytes
            total += item.small_depth.z_depth_m.nbytes if item.small_depth else 0
            total += len(item.full_depth.encoded_png) if item.full_depth else 0
        if total >= enough:
            break
    return total


def _shuffled(names: Sequence[str], seed: int, source: str, split: Split) -> list[str]:
    order = generator(seed, "scenes", source, split.value).permutation(len(names))
    return [names[i] for i in order]
