"""An ingested source: clips by number, read from its shards."""

from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import pyarrow as pa

from vlm3.errors import DataError
from vlm3.scenes.rows import LIGHT_COLUMNS, POINT_COLUMNS, SCHEMA, table_to_frames
from vlm3.scenes.schema import SCHEMA_VERSION, Frame
from vlm3.storage.manifest import Manifest, Role, read_manifest
from vlm3.storage.shards import read_clip
from vlm3.storage.split import Split
from vlm3.storage.store import open_store

ColumnSet = tuple[str, ...]
DEPTH_COLUMNS: ColumnSet = (*LIGHT_COLUMNS, *POINT_COLUMNS, "encoded_image")
"""Ids, camera, pose, scale, labelled points and the image: all that training on depth reads."""
PAIR_COLUMNS: ColumnSet = (*DEPTH_COLUMNS, "small_depth")
"""Adds the small depth map, which tells which frames see the same things and which points are hidden."""
BOX_COLUMNS: ColumnSet = (*LIGHT_COLUMNS, "encoded_image", "boxes")
"""Columns that questions about objects read."""
ALL_COLUMNS: ColumnSet = tuple(SCHEMA.names)


@dataclass(frozen=True, slots=True)
class ShardedSource:
    """A source as the mixture sees it. Small when pickled: each process loads the manifest itself, once."""

    uri: str
    name: str
    role: Role
    """`eval` sources cannot be given weight."""
    fingerprint: str
    slots: int
    """Samples drawn from a clip in one pass."""
    scale: str
    """`metric`, `relative`, or `mixed` where scenes differ."""
    counts: tuple[tuple[Split, int, int], ...]
    """(split, clips, frames)."""

    @classmethod
    def open(cls, uri: str) -> "ShardedSource":
        """The source at `uri`: one small read, no listing.

        Raises:
            DataError: the bucket or the manifest is missing, the source is empty, or a newer version wrote it.
            StorageError: the store does not answer.
        """
        manifest = read_manifest(open_store(uri))
        info = manifest.info
        if info.schema_version > SCHEMA_VERSION:
            raise DataError(
                f"{uri}: shards have schema version {info.schema_version} (written by vlm3 {info.created_by}), this"
                f" version reads up to {SCHEMA_VERSION}; upgrade vlm3"
            )
        counts = tuple((split, shards.clips, shards.frames) for split, shards in manifest.splits.items())
        if not any(clips for _, clips, _ in counts):
            raise DataError(
                f"{uri}: source {info.source!r} holds no clip; ingest it again from a folder with good frames"
            )
        return cls(uri, info.source, info.role, manifest.fingerprint, info.slots, info.scale, counts)

    def clips(self, split: Split) -> int:
        """Number of clips of a split."""
        return next(clips for name, clips, _ in self.counts if name is split)

    def frames(self, split: Split) -> int:
        """Number of rows of a split; a frame that is in two clips counts twice."""
        return next(frames for name, _, frames in self.counts if name is split)

    def read_clip(self, split: Split, index: int, columns: ColumnSet = ALL_COLUMNS) -> tuple[Frame, ...]:
        """Frames of clip `index` in [0, clips(split)); fields whose columns are not asked for are None or empty.

        Raises:
            As `read_table`.
        """
        return tuple(table_to_frames(self.read_table(split, index, columns)))

    def read_table(self, split: Split, index: int, columns: ColumnSet = ALL_COLUMNS) -> pa.Table:
        """The rows of clip `index`, as they are stored.

        Raises:
            IndexError: there is no such clip.
            DataError: its shard is missing, or the source was replaced since it was opened.
            DamagedError: the clip's bytes are damaged.
            StorageError: the store does not answer.
        """
        with _loading:
            manifest = _manifest(self.uri, self.fingerprint)
        file, clip = manifest.locate(split, index)
        return read_clip(open_store(self.uri), file, clip, columns)


_loading = Lock()
"""Threads that read ahead start at the same time: one of them loads the manifest, the others wait for it."""


@lru_cache(maxsize=64)
def _manifest(uri: str, fingerprint: str) -> Manifest:
    manifest = read_manifest(open_store(uri))
    if manifest.fingerprint != fingerprint:
        raise DataError(
            f"{uri}: the source was replaced while it was in use (fingerprint {fingerprint}, now"
            f" {manifest.fingerprint}); start again with the new data"
        )
    return manifest
