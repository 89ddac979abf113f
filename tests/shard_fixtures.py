"""A source of shards written in a moment, without Ray, and S3 servers to keep it in."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from tests.frames import make_frame
from vlm3.scenes.rows import ENCODED_COLUMNS, SCHEMA, frames_to_table
from vlm3.scenes.schema import Frame
from vlm3.scenes.sharded import ShardedSource
from vlm3.seeds import generator
from vlm3.storage.columns import column_extents
from vlm3.storage.manifest import SourceInfo, write_manifest
from vlm3.storage.shards import Shard, ShardWriter, shard_path
from vlm3.storage.split import Split
from vlm3.storage.store import Store


def heavy_frame(scene: str, number: int, image_bytes: int) -> Frame:
    """A frame whose image is `image_bytes` of noise, with 1024 labels and a full depth half as large."""
    frame, rng = make_frame(scene, number), generator("heavy", scene, number)
    assert frame.full_depth is not None
    return replace(
        frame,
        encoded_image=rng.bytes(image_bytes),
        points=rng.uniform(1, 30, (1024, 3)).astype("float32"),
        full_depth=replace(frame.full_depth, encoded_png=rng.bytes(image_bytes // 2)),
    )


def write_shard(store: Store, group: int, clips: int, *, frames: int = 4, image_bytes: int = 4000) -> Shard:
    """One shard of clips of heavy frames."""
    writer = ShardWriter(SCHEMA, ENCODED_COLUMNS)
    for clip in range(clips):
        rows = [heavy_frame(f"scene-{group}-{clip}", i, image_bytes) for i in range(frames)]
        writer.add(frames_to_table(rows, clip))
    return writer.commit(store, shard_path(Split.TRAIN, 0, group, 0))


def clip_extent(file: Path, clip: int) -> tuple[int, int]:
    """[start, stop) of the bytes of a shard's clip."""
    starts, stops = zip(*column_extents(pq.read_metadata(file), clip), strict=True)
    return min(starts), max(stops)


def write_source(store: Store, shards: int, clips: int, *, frames: int = 4, image_bytes: int = 4000) -> ShardedSource:
    """A whole training source; `clips` are those of one shard."""
    written = [write_shard(store, group, clips, frames=frames, image_bytes=image_bytes) for group in range(shards)]
    info = SourceInfo("made", "train", 1, frames, "metric", "key", 0, "test")
    write_manifest(store, info, {Split.TRAIN: written})
    return ShardedSource.open(store.uri)
