"""Findings on the stored files of a source: manifest, shards, checksums, schema. The store is never listed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vlm3.doctor.finding import Finding, Verdict
from vlm3.errors import DataError
from vlm3.scenes.rows import SCHEMA
from vlm3.storage.failures import StorageError
from vlm3.storage.footers import FOOTERS
from vlm3.storage.manifest import Manifest
from vlm3.storage.shards import place, verify_shard
from vlm3.storage.split import Split
from vlm3.storage.store import Store

CHECKSUM_BYTES = 256 * 2**20
"""Maximum number of bytes read for checksums, unless all are wanted."""
AGAIN = "restore the shard from a copy, or ingest the source again with --replace"


@dataclass(frozen=True, slots=True)
class ShardsReport:
    """Findings, and the shards that cannot be read."""

    findings: list[Finding]
    broken: frozenset[str]
    """Paths of shards that are missing or have a wrong size or schema."""


@dataclass(slots=True)
class _Faults:
    """Faults of each check by the path of the shard."""

    missing: dict[str, str] = field(default_factory=dict)
    schema: dict[str, str] = field(default_factory=dict)
    checksum: dict[str, str] = field(default_factory=dict)


def diagnose_manifest(manifest: Manifest) -> Finding:
    """Whether the manifest is consistent: counts of clips and frames, sizes, no shard twice."""
    faults = [fault for split in Split for fault in _split_faults(manifest, split)]
    paths = [path for split in manifest.splits.values() for path in split.paths]
    if len(set(paths)) < len(paths):
        faults.append(f"{len(paths) - len(set(paths))} shards are listed twice")
    counts = ", ".join(f"{split}: {s.clips} clips, {s.frames} frames" for split, s in manifest.splits.items())
    info = manifest.info
    figure = f"{info.source!r}, {len(paths)} shards; {counts}; schema version {info.schema_version}, role {info.role}"
    if not faults:
        return Finding("manifest", Verdict.OK, figure)
    return Finding("manifest", Verdict.FAIL, "; ".join(faults[:3]), "ingest the source again with --replace")


def _split_faults(manifest: Manifest, split: Split) -> list[str]:
    shards = manifest.splits[split]
    clips, frames = np.diff(shards.first_clips), shards.frames_each
    rules = (
        (clips > 0, "a shard without clips"),
        (frames >= clips, "a shard with fewer frames than clips"),
        (shards.sizes_bytes > 0, "a shard without bytes"),
    )
    return [f"{split}: {fault} (first at shard {int(np.argmin(holds))})" for holds, fault in rules if not holds.all()]


def shards_of(manifest: Manifest, split: Split, clips: Sequence[int]) -> list[tuple[Split, int]]:
    """(split, number) of the shards that hold these clips."""
    numbers = np.searchsorted(manifest.splits[split].first_clips, np.asarray(clips, np.int64), side="right") - 1
    return [(split, number) for number in sorted({int(n) for n in numbers})]


def all_shards(manifest: Manifest) -> list[tuple[Split, int]]:
    """(split, number) of every shard."""
    return [(split, number) for split, shards in manifest.splits.items() for number in range(len(shards))]


def diagnose_shards(
    store: Store, manifest: Manifest, chosen: Sequence[tuple[Split, int]], *, full: bool
) -> ShardsReport:
    """Check whether shards exist and have the size, counts and checksum of the manifest and the right schema.

    Args:
        store: the source's root.
        manifest: the source's manifest.
        chosen: (split, number) of the shards to check.
        full: whether to verify the checksums of all of them, and not only of as many as fit in `CHECKSUM_BYTES`.

    Raises:
        StorageError: the store does not answer.
    """
    faults, left_bytes, summed = _Faults(), CHECKSUM_BYTES, 0
    for split, number in chosen:
        file = manifest.splits[split].file(number)
        size = store.size(file.path)
        if size != file.size_bytes:
            found = "missing" if size is None else f"{size} bytes, expected {file.size_bytes}"
            faults.missing[file.path] = found
            continue
        fault = _footer_fault(store, manifest, split, number)
        if fault:
            faults.schema[file.path] = fault
        if full or file.size_bytes <= left_bytes:
            left_bytes, summed = left_bytes - file.size_bytes, summed + 1
            try:
                verify_shard(store, file)
            except StorageError:
                raise
            except DataError as error:
                faults.checksum[file.path] = str(error).partition(": ")[2]
    findings = [
        _finding("shards", f"{len(chosen)} of {_count(manifest)} looked at, all there in full size", faults.missing),
        _finding("schema", f"{len(chosen)} footers have the columns and counts they should", faults.schema),
        _finding("checksums", f"{summed} of {_count(manifest)} shards match their SHA-256", faults.checksum),
    ]
    if chosen and len(faults.missing) == len(chosen):
        findings[2] = Finding("checksums", Verdict.CANNOT_TELL, "no shard is there in full size", "see shards")
    elif not summed:
        findings[2] = Finding("checksums", Verdict.CANNOT_TELL, "shards are too large to read in passing", "use --full")
    broken = frozenset([*faults.missing, *faults.schema])
    return ShardsReport(findings, broken)


def _footer_fault(store: Store, manifest: Manifest, split: Split, number: int) -> str | None:
    shards = manifest.splits[split]
    file = shards.file(number)
    try:
        footer = pq.read_metadata(pa.BufferReader(FOOTERS.get(place(store, file))))
        schema = footer.schema.to_arrow_schema()
    except StorageError:
        raise
    except (pa.ArrowException, DataError, OSError) as error:
        return f"not Parquet ({error})"
    lacking = [column.name for column in SCHEMA if column.name not in schema.names]
    other = [c.name for c in SCHEMA if c.name in schema.names and not schema.field(c.name).type.equals(c.type)]
    if lacking or other:
        return "; ".join(
            f"{what}: {', '.join(names)}" for what, names in (("no column", lacking), ("another type", other)) if names
        )
    clips = shards.first_clips[number : number + 2]
    said = (int(clips[1] - clips[0]), int(shards.frames_each[number]))
    found = (footer.num_row_groups, footer.num_rows)
    return None if said == found else f"manifest says {said[0]} clips, {said[1]} frames; found {found[0]}, {found[1]}"


def _finding(check: str, good: str, faults: dict[str, str]) -> Finding:
    if not faults:
        return Finding(check, Verdict.OK, good)
    path, fault = next(iter(faults.items()))
    return Finding(check, Verdict.FAIL, f"{len(faults)} with a fault, the first: {path}: {fault}", AGAIN, len(faults))


def _count(manifest: Manifest) -> int:
    return sum(len(shards) for shards in manifest.splits.values())
