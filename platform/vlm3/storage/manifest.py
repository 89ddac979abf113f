"""A source's table of contents: one Parquet row per shard. It is written last, so a source that has one is whole."""

import io
from binascii import unhexlify
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vlm3.errors import DataError
from vlm3.storage.columns import read_columns
from vlm3.storage.footers import TAIL_BYTES, read_footer
from vlm3.storage.packed_text import PackedText
from vlm3.storage.shards import Shard, ShardFile
from vlm3.storage.split import Split
from vlm3.storage.store import Store

MANIFEST = "manifest.parquet"
PREFIX = "vlm3."
Role = Literal["train", "eval"]
ROLES: Mapping[str, Role] = {"train": "train", "eval": "eval"}
SCHEMA = pa.schema(
    [
        ("split", pa.string()),
        ("number", pa.int64()),
        ("path", pa.string()),
        ("clips", pa.int64()),
        ("first_clip", pa.int64()),
        ("frames", pa.int64()),
        ("size_bytes", pa.int64()),
        ("sha256", pa.string()),
        ("footer_bytes", pa.int64()),
    ]
)
"""Earlier manifests also hold lists of numbers about each clip, which nothing reads."""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """Facts about a whole source: the manifest's key-value metadata."""

    source: str
    role: Role
    """`eval` sources cannot be given weight."""
    schema_version: int
    slots: int
    """Samples drawn from a clip in one pass."""
    scale: str
    """`metric`, `relative`, or `mixed` where scenes differ."""
    ingest_key: str
    """Hash of what was ingested and how; the same key means there is nothing to do."""
    generation: int
    """How many times this source was replaced."""
    created_by: str


@dataclass(frozen=True, slots=True, eq=False)
class SplitShards:
    """The shards of one split in order, held as columns, so that millions of them take little memory."""

    paths: PackedText
    sizes_bytes: NDArray[np.int64]
    footers_bytes: NDArray[np.int32]
    digests: bytes
    """SHA-256 of each file, 32 bytes one after the other."""
    frames_each: NDArray[np.int32]
    first_clips: NDArray[np.int64]
    """(shards + 1,) number of each shard's first clip in the split, then the number of clips."""
    frames: int
    """Rows of the split; a frame in two clips counts twice."""

    def __len__(self) -> int:
        """Number of shards of the split."""
        return len(self.paths)

    @property
    def clips(self) -> int:
        """Number of clips of the split."""
        return int(self.first_clips[-1])

    @property
    def nbytes(self) -> int:
        """Memory of all columns."""
        arrays = (self.sizes_bytes, self.footers_bytes, self.frames_each, self.first_clips)
        return self.paths.nbytes + len(self.digests) + sum(array.nbytes for array in arrays)

    def file(self, number: int) -> ShardFile:
        """The shard with this number."""
        return self._file(number, self.paths[number])

    def files(self) -> Iterator[ShardFile]:
        """All shards, in order."""
        return (self._file(number, path) for number, path in enumerate(self.paths))

    def _file(self, number: int, path: str) -> ShardFile:
        digest = self.digests[32 * number : 32 * number + 32].hex()
        return ShardFile(path, int(self.sizes_bytes[number]), digest, int(self.footers_bytes[number]))


@dataclass(frozen=True, slots=True, eq=False)
class Manifest:
    """The shards of a source by split, and facts about the whole source."""

    info: SourceInfo
    fingerprint: str
    """Hash of all shards' checksums in order: the same content has the same fingerprint wherever it was ingested."""
    splits: dict[Split, SplitShards]

    def locate(self, split: Split, clip: int) -> tuple[ShardFile, int]:
        """The shard that holds a clip of a split, and the clip's number in it.

        Raises:
            IndexError: the split has no such clip.
        """
        shards = self.splits[split]
        if not 0 <= clip < shards.clips:
            raise IndexError(
                f"source {self.info.source!r}: {split} has {shards.clips} clips, number {clip} was asked for"
            )
        i = int(np.searchsorted(shards.first_clips, clip, side="right")) - 1
        return shards.file(i), clip - int(shards.first_clips[i])

    @property
    def files(self) -> tuple[ShardFile, ...]:
        """All shards of all splits."""
        return tuple(file for shards in self.splits.values() for file in shards.files())


def write_manifest(store: Store, info: SourceInfo, shards: Mapping[Split, Sequence[Shard]]) -> Manifest:
    """Commit a source: after this call its shards are what readers see.

    Args:
        store: store at the source's root, where the shards are.
        info: facts about the whole source.
        shards: every shard of each split, in order.
    """
    rows = []
    for split in Split:
        first_clip = 0
        for number, shard in enumerate(shards.get(split, ())):
            rows.append(_row(split, number, first_clip, shard))
            first_clip += shard.clips
    digest = sha256("".join(f"{row['split']} {row['sha256']}\n" for row in rows).encode()).hexdigest()[:16]
    metadata = {PREFIX + key: str(value) for key, value in asdict(info).items()} | {PREFIX + "fingerprint": digest}
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA.with_metadata(metadata)), buffer, compression="zstd")
    store.write_atomic(MANIFEST, buffer.getvalue())
    return read_manifest(store)


def read_manifest(store: Store) -> Manifest:
    """The manifest of a source.

    Raises:
        DataError: there is none, or it is damaged.
        StorageError: the store does not answer.
    """
    size = store.size(MANIFEST)
    if size is None:
        if store.remote:
            store.check()
        raise DataError(
            f"{store.uri}: no complete source here ({MANIFEST} is missing); ingest it with"
            f" `python jobs/ingest.py FOLDER --to {store.uri}`, again if that was interrupted"
        )
    try:
        table = _table(store, size)
        fields = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
        return Manifest(_info(fields), fields[PREFIX + "fingerprint"], {split: _split(table, split) for split in Split})
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{store.uri}/{MANIFEST}: not a manifest or damaged ({error}); ingest the source again"
        ) from error


def _table(store: Store, size_bytes: int) -> pa.Table:
    table = read_columns(store, MANIFEST, size_bytes, read_footer(store, MANIFEST, size_bytes), SCHEMA.names)
    if "footer_bytes" not in table.column_names:
        # Early manifests lack this column; a guess that is too small costs a second request.
        table = table.append_column("footer_bytes", pa.repeat(TAIL_BYTES, table.num_rows))
    return table


def _row(split: Split, number: int, first_clip: int, shard: Shard) -> dict[str, object]:
    return {
        "split": split.value,
        "number": number,
        "path": shard.file.path,
        "clips": shard.clips,
        "first_clip": first_clip,
        "frames": shard.frames,
        "size_bytes": shard.file.size_bytes,
        "sha256": shard.file.sha256,
        "footer_bytes": shard.file.footer_bytes,
    }


def _info(fields: dict[str, str]) -> SourceInfo:
    value = {field: fields[PREFIX + field] for field in SourceInfo.__dataclass_fields__}
    return SourceInfo(
        source=value["source"],
        role=ROLES[value["role"]],
        schema_version=int(value["schema_version"]),
        slots=int(value["slots"]),
        scale=value["scale"],
        ingest_key=value["ingest_key"],
        generation=int(value["generation"]),
        created_by=value["created_by"],
    )


def _split(table: pa.Table, split: Split) -> SplitShards:
    rows = table.filter(pc.equal(table["split"], split.value)).combine_chunks()
    if np.any(np.diff(rows["number"].to_numpy()) < 0):
        rows = rows.sort_by("number").combine_chunks()
    first_clips = np.concatenate([[0], np.cumsum(rows["clips"].to_numpy())]).astype(np.int64)
    if not np.array_equal(rows["number"].to_numpy(), np.arange(rows.num_rows)):
        raise ValueError(f"numbers of {split} shards have gaps")
    if not np.array_equal(rows["first_clip"].to_numpy(), first_clips[:-1]):
        raise ValueError(f"running counts of {split} clips do not add up")
    # Every process that reads keeps all shards in memory, perhaps millions: no column is held twice, no digest as text.
    return SplitShards(
        PackedText(rows["path"].to_pylist()),
        rows["size_bytes"].to_numpy(),
        rows["footer_bytes"].to_numpy().astype(np.int32),
        _digests(rows["sha256"]),
        rows["frames"].to_numpy().astype(np.int32),
        first_clips,
        frames=int(rows["frames"].to_numpy().sum()),
    )


def _digests(column: pa.ChunkedArray) -> bytes:
    """Hexadecimal SHA-256 digests as 32 bytes each; converts the text as a whole, without a string per digest."""
    lengths = pc.unique(pc.binary_length(column)).to_pylist()
    if lengths not in ([64], []):
        raise ValueError(f"a SHA-256 has 64 hexadecimal digits, found {lengths}")
    texts = pa.concat_arrays([pa.array([], pa.string()), *column.chunks])
    return unhexlify(memoryview(texts.buffers()[2] or b"")[: 64 * len(texts)])
