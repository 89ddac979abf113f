"""Ingest: scenes of a foreign dataset → checked frames → clips → shards, by Ray Data; the manifest commits them."""

import dataclasses
import io
import json
import re
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib.metadata import version

import pyarrow as pa
import pyarrow.parquet as pq
import ray.data
import ray.exceptions
from pydantic import TypeAdapter

from pipelines.failures import user_error
from pipelines.progress import Counting
from vlm3.errors import DataError
from vlm3.log import get_logger
from vlm3.scenes.schema import SCHEMA_VERSION
from vlm3.sources.reader import Rejection, SceneReader
from vlm3.sources.sharding import GroupResult, GroupWriter, IngestConfig, SceneGroup, scene_groups
from vlm3.storage.manifest import MANIFEST, Manifest, SourceInfo, read_manifest, write_manifest
from vlm3.storage.shards import SHARD_NAME
from vlm3.storage.split import Split
from vlm3.storage.store import Store, open_store

__all__ = ["IngestConfig", "IngestReport", "ingest", "ingest_key"]
log = get_logger(__name__)
REPORT = "report.parquet"
"""Every rejected frame with its reason, beside the manifest."""
OURS = re.compile(rf"{SHARD_NAME}|\.({SHARD_NAME}|{re.escape(MANIFEST)}|{re.escape(REPORT)})\.[0-9a-f]+\.tmp")
"""Names of the shards that an ingest writes, and of unfinished temporary files that an interrupted one leaves."""
GROUP = TypeAdapter(SceneGroup)
RESULT = TypeAdapter(GroupResult)


@dataclasses.dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest did, and what the source now holds."""

    source: str
    uri: str
    fingerprint: str
    reused: bool
    """True if the source was there already and nothing was done."""
    clips: dict[Split, int]
    frames: dict[Split, int]
    """Number of rows in the shards, by split; a frame that is in two clips counts twice."""
    shards: int
    size_bytes: int
    frames_read: int
    """Number of frames read in this run, good and bad; 0 if reused."""
    rejections: tuple[Rejection, ...]
    seconds: float


def ingest(reader: SceneReader, uri: str, config: IngestConfig, *, replace: bool = False) -> IngestReport:
    """Write a source's shards and manifest on the connected Ray cluster.

    The manifest is written last: an interrupted ingest leaves no source, and the next one deletes its leftovers. A
    source that was ingested from the same scenes with the same config is left as it is. One writer per URI at a time.

    Args:
        reader: gives the frames; every node must be able to read its files.
        uri: local folder or `s3://bucket/prefix` to write the source to.
        config: how the source is cut into clips and shards.
        replace: ingest even if the source is there. Readers see the old shards until the new manifest is written.

    Raises:
        DataError: there is no good frame, too many are bad, or another source is there already; nothing is committed.
        StorageError: the store does not answer.
    """
    started = time.monotonic()
    store = open_store(uri)
    store.check()
    key = ingest_key(reader, config)
    existing = read_manifest(store) if store.exists(MANIFEST) else None
    if existing is not None and not replace:
        if existing.info.ingest_key != key:
            raise DataError(
                f"{store.uri}: holds source {existing.info.source!r}, ingested from other data or with another config;"
                f" give {reader.source!r} another place, or replace what is there: python jobs/ingest.py … --replace"
            )
        log.debug("%s: source %r is there already, nothing to do", store.uri, reader.source)
        return _report(store, existing, started)
    _clear(store, existing)
    generation = 0 if existing is None else existing.info.generation + 1
    results = _write_shards(GroupWriter(reader, store, config, generation), scene_groups(reader, config))
    rejections = tuple(rejection for result in results for rejection in result.rejections)
    kept = sum(result.frames_kept for result in results)
    _write_rejections(store, rejections)
    _require_good(reader, store, kept, rejections, config)
    info = SourceInfo(
        source=reader.source,
        role=config.role,
        schema_version=SCHEMA_VERSION,
        slots=config.slots_per_clip,
        scale=_scale(results),
        ingest_key=key,
        generation=generation,
        created_by=version("vlm3"),
    )
    shards = {split: [s for r in results if r.group.split is split for s in r.shards] for split in Split}
    manifest = write_manifest(store, info, shards)
    _clear(store, manifest)
    return dataclasses.replace(
        _report(store, manifest, started), reused=False, frames_read=kept + len(rejections), rejections=rejections
    )


def _write_shards(writer: GroupWriter, groups: Sequence[SceneGroup]) -> list[GroupResult]:
    """Results of all groups, in order of split and number."""
    if not groups:
        return []
    # Groups and results travel as JSON text: one row, one block, one task each.
    rows = [{"group": GROUP.dump_json(group).decode()} for group in groups]
    dataset = ray.data.from_items(rows, override_num_blocks=len(groups)).map(
        lambda row: {"result": RESULT.dump_json(writer(GROUP.validate_json(row["group"]))).decode()}, num_cpus=1
    )
    dataset.context.enable_progress_bars = False
    scenes = sum(len(group.scenes) for group in groups)
    try:
        results = list(_shown(dataset, writer.reader.source, scenes))
    except ray.exceptions.RayError as error:
        understood = user_error(error)
        if understood is not None:
            raise understood from error
        raise
    return sorted(results, key=lambda result: (list(Split).index(result.group.split), result.group.number))


def _shown(dataset: ray.data.Dataset, source: str, scenes: int) -> Iterator[GroupResult]:
    """Yield results as they come, with a progress bar."""
    with Counting(f"ingest {source}: scene", scenes, lines=3) as counting:
        frames = rejected = 0
        for row in dataset.iter_rows():
            result = RESULT.validate_json(row["result"])
            frames, rejected = frames + result.frames_kept, rejected + len(result.rejections)
            counting.add(len(result.group.scenes), f"{frames} frames, {rejected} rejected")
            yield result


def _write_rejections(store: Store, rejections: Sequence[Rejection]) -> None:
    names = ("source", "scene", "frame", "reason")
    columns = {name: pa.array([getattr(item, name) for item in rejections], pa.string()) for name in names}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    store.write_atomic(REPORT, buffer.getvalue())


def _require_good(
    reader: SceneReader, store: Store, kept: int, rejections: tuple[Rejection, ...], config: IngestConfig
) -> None:
    read = kept + len(rejections)
    first = f"; the first: {rejections[0].scene}/{rejections[0].frame}: {rejections[0].reason}" if rejections else ""
    if kept == 0:
        raise DataError(
            f"source {reader.source!r}: no good frame among {read} read{first}; nothing was committed to {store.uri}"
        )
    if len(rejections) > config.max_rejected_share * read:
        raise DataError(
            f"source {reader.source!r}: {len(rejections)} of {read} frames rejected, more than max_rejected_share"
            f" {config.max_rejected_share}{first}; all of them: {store.uri}/{REPORT}; nothing was committed"
        )


def _clear(store: Store, manifest: Manifest | None) -> None:
    """Remove shards that the manifest does not list, and unfinished temporary files."""
    listed = {file.path for file in manifest.files} if manifest else set()
    for path in store.list():
        if OURS.fullmatch(path) and path not in listed:
            store.delete(path)


def ingest_key(reader: SceneReader, config: IngestConfig) -> str:
    """Hash of what is ingested and how."""
    identity = [reader.source, reader.posed, reader.identity(), reader.scenes(), config.model_dump(mode="json")]
    return sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _scale(results: Sequence[GroupResult]) -> str:
    scales = set().union(*(result.scales for result in results))
    return scales.pop() if len(scales) == 1 else "mixed"


def _report(store: Store, manifest: Manifest, started: float) -> IngestReport:
    """Report on the source that is there, for an ingest that did nothing."""
    return IngestReport(
        source=manifest.info.source,
        uri=store.uri,
        fingerprint=manifest.fingerprint,
        reused=True,
        clips={split: shards.clips for split, shards in manifest.splits.items()},
        frames={split: shards.frames for split, shards in manifest.splits.items()},
        shards=len(manifest.files),
        size_bytes=sum(file.size_bytes for file in manifest.files),
        frames_read=0,
        rejections=(),
        seconds=time.monotonic() - started,
    )
