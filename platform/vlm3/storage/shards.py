"""Parquet shards: one row group is one clip; clips are written whole and read by column."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vlm3.errors import DamagedError, DataError
from vlm3.log import get_logger
from vlm3.storage.columns import column_extents, read_columns
from vlm3.storage.footers import FOOTERS, FooterPlace
from vlm3.storage.split import Split
from vlm3.storage.store import Store

log = get_logger(__name__)
RESTORE = "restore it from a copy, or ingest the source again with --replace"


@dataclass(frozen=True, slots=True)
class ShardFile:
    """What is needed to read from one shard file."""

    path: str
    """Relative to the source's root."""
    size_bytes: int
    sha256: str
    footer_bytes: int
    """Bytes after the last clip: reading exactly these gives the places of all clips' columns."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One file and what it holds, as the manifest lists it."""

    file: ShardFile
    clips: int
    """Row groups of the file."""
    frames: int
    """Rows of the file."""


class ShardWriter:
    """Builds one shard in memory; `commit` writes it atomically."""

    def __init__(self, schema: pa.Schema, encoded_columns: Sequence[str]) -> None:
        """Start an empty shard.

        Args:
            schema: columns of every clip.
            encoded_columns: dotted paths of columns that hold JPEG or PNG bytes: stored as they are.
        """
        plain = [leaf for leaf in _leaves(schema) if leaf.path not in encoded_columns]
        self._buffer = io.BytesIO()
        self._writer = pq.ParquetWriter(
            self._buffer,
            schema,
            compression={leaf.path: "ZSTD" for leaf in plain} | dict.fromkeys(encoded_columns, "NONE"),
            use_dictionary=[leaf.path for leaf in plain if leaf.physical_type == "BYTE_ARRAY"],
            write_statistics=[leaf.path for leaf in plain],
            # A damaged byte is found when its clip is read, without reading the whole file for its SHA-256.
            write_page_checksum=True,
        )
        self._clips = self._frames = 0

    @property
    def size_bytes(self) -> int:
        """Bytes so far, without the footer."""
        return self._buffer.tell()

    @property
    def clips(self) -> int:
        """Clips so far."""
        return self._clips

    def add(self, clip: pa.Table) -> None:
        """Append a clip as one row group."""
        self._writer.write_table(clip, row_group_size=clip.num_rows)
        self._clips += 1
        self._frames += clip.num_rows

    def commit(self, store: Store, path: str) -> Shard:
        """Close the shard and write it to `path`."""
        self._writer.close()
        data = self._buffer.getvalue()
        store.write_atomic(path, data)
        file = ShardFile(path, len(data), sha256(data).hexdigest(), len(data) - _end_of_clips(data))
        return Shard(file, self._clips, self._frames)


def shard_path(split: Split, generation: int, group: int, part: int) -> str:
    """Name of a shard file: its split, generation, group and part.

    Writers of different groups work at the same time without agreeing on numbers; another generation never overwrites
    the one that is being read.
    """
    return f"{split}-g{generation}-{group:05d}-{part:03d}.parquet"


SHARD_NAME = r"(train|eval)-g\d+-\d{5,}-\d{3,}\.parquet"
"""Regular expression of every name `shard_path` gives."""


def read_clip(store: Store, file: ShardFile, clip: int, columns: Sequence[str]) -> pa.Table:
    """One clip of a shard; only the chunks of `columns` are fetched, and adjacent ones in one request.

    The shard's footer is one more request, the first time this process reads from the shard.

    Args:
        store: store at the source's root.
        file: shard to read from.
        clip: number of the clip in this shard.
        columns: top-level column names.

    Raises:
        DataError: the shard is missing; the message names shard and clip.
        DamagedError: its bytes were damaged in two reads.
        StorageError: the store does not answer, which says nothing about the data.
    """
    footer = place(store, file)
    where = f"{store.uri}/{file.path}, clip {clip}"
    for attempt in (1, 2):
        try:
            return read_columns(store, file.path, file.size_bytes, FOOTERS.get(footer), columns, (clip,))
        except DataError as error:
            raise DataError(f"{where}: {error}; {RESTORE}") from error
        except (pa.ArrowException, OSError) as error:
            # Bytes can be damaged on the way; only what is damaged in the store is damaged twice.
            FOOTERS.drop(footer)
            if attempt == 2:
                raise DamagedError(f"{where}: shard is damaged ({error}); {RESTORE}") from error
            log.warning("%s: %s; reading it again", where, error)
    raise AssertionError("unreachable: the second attempt returns or raises")


def place(store: Store, file: ShardFile) -> FooterPlace:
    """The place of a shard's footer, with its SHA-256 so that an old footer is never used for a replaced shard."""
    return FooterPlace(store, file.path, file.size_bytes, file.footer_bytes, file.sha256)


def verify_shard(store: Store, file: ShardFile) -> None:
    """Read a whole shard and compare its SHA-256 with the manifest's.

    Raises:
        DataError: they differ.
    """
    found = sha256(store.read(file.path)).hexdigest()
    if found != file.sha256:
        raise DataError(f"{store.uri}/{file.path}: shard is damaged: expected SHA-256 {file.sha256}, found {found}")


def _leaves(schema: pa.Schema) -> list[Any]:
    """A schema's Parquet leaves; their `path` is dotted, e.g. `full_depth.encoded_png`."""
    empty = io.BytesIO()
    pq.write_table(schema.empty_table(), empty)
    columns = pq.ParquetFile(empty).schema
    return [columns.column(i) for i in range(len(columns))]


def _end_of_clips(data: bytes) -> int:
    """First byte after all row groups of a Parquet file."""
    metadata = pq.read_metadata(io.BytesIO(data))
    return max(stop for group in range(metadata.num_row_groups) for _, stop in column_extents(metadata, group))
