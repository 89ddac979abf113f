"""Damage at rest is a finding that names the shard; it is no traceback."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.broken import write_source
from tests.frames import MadeReader
from tests.storage_fixtures import S3Server, make_bucket
from vlm3.doctor.finding import Verdict
from vlm3.doctor.shards import ShardsReport, all_shards, diagnose_manifest, diagnose_shards, shards_of
from vlm3.scenes.sharded import ShardedSource
from vlm3.storage.failures import StorageError
from vlm3.storage.manifest import MANIFEST, Manifest, read_manifest
from vlm3.storage.split import Split
from vlm3.storage.store import open_store


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An ingested source of several shards."""
    write_source(MadeReader(sizes=(8,) * 12), tmp_path / "made")
    return tmp_path / "made"


def look(folder: Path, *, full: bool = True) -> ShardsReport:
    store = open_store(str(folder))
    manifest = read_manifest(store)
    return diagnose_shards(store, manifest, all_shards(manifest), full=full)


def verdicts(report: ShardsReport) -> dict[str, Verdict]:
    return {finding.check: finding.verdict for finding in report.findings}


def shard(folder: Path) -> Path:
    return sorted(folder.glob("train-*.parquet"))[0]


def rewritten(folder: Path, change: Callable[[pa.Table], pa.Table]) -> Manifest:
    """The manifest with its table changed."""
    table = pq.read_table(folder / MANIFEST)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), folder / MANIFEST)
    return read_manifest(open_store(str(folder)))


def with_column(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[pa.Table], pa.Table]:
    def put(table: pa.Table) -> pa.Table:
        column = pa.array(change(table[name].to_numpy().copy()), table.schema.field(name).type)
        return table.set_column(table.column_names.index(name), name, column)

    return put


def test_a_whole_source_passes(source: Path) -> None:
    report = look(source)
    assert verdicts(report) == {"shards": Verdict.OK, "schema": Verdict.OK, "checksums": Verdict.OK}
    assert report.broken == frozenset()
    finding = diagnose_manifest(read_manifest(open_store(str(source))))
    assert finding.verdict is Verdict.OK
    assert "'made'" in finding.figure and "train: " in finding.figure


def test_a_missing_shard_is_named(source: Path) -> None:
    gone = shard(source)
    gone.unlink()
    report = look(source)
    assert verdicts(report)["shards"] is Verdict.FAIL
    assert report.broken == {gone.name}
    (finding,) = [each for each in report.findings if each.check == "shards"]
    assert f"{gone.name}: missing" in finding.figure and "--replace" in finding.advice


def test_where_no_shard_is_there_none_is_called_too_large(source: Path) -> None:
    for path in source.rglob("*.parquet"):
        if path.name != MANIFEST:
            path.unlink()
    (finding,) = [each for each in look(source).findings if each.check == "checksums"]
    assert finding.verdict is Verdict.CANNOT_TELL and finding.figure == "no shard is there in full size"


def test_a_shard_that_was_cut_short_is_named_with_both_sizes(source: Path) -> None:
    cut = shard(source)
    size = cut.stat().st_size
    cut.write_bytes(cut.read_bytes()[:-100])
    (finding,) = [each for each in look(source).findings if each.check == "shards"]
    assert f"{size - 100} bytes, expected {size}" in finding.figure


def test_one_flipped_bit_is_found_by_the_checksum(source: Path) -> None:
    damaged = bytearray(shard(source).read_bytes())
    damaged[len(damaged) // 3] ^= 1
    shard(source).write_bytes(damaged)
    report = look(source)
    assert verdicts(report)["checksums"] is Verdict.FAIL
    assert verdicts(report)["shards"] is Verdict.OK


def test_a_file_that_is_no_parquet_is_named(source: Path) -> None:
    shard(source).write_bytes(bytes(shard(source).stat().st_size))
    report = look(source)
    assert verdicts(report)["schema"] is Verdict.FAIL
    assert report.broken == {shard(source).name}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.drop_columns(["small_depth"]), "no column: small_depth"),
        (lambda table: table.set_column(0, "source", table["clip"]), "another type: source"),
        (lambda table: table.slice(0, 3), "found 1, 3"),
    ],
)
def test_a_shard_of_another_schema_or_with_other_counts_is_named(
    source: Path, change: Callable[[pa.Table], pa.Table], said: str
) -> None:
    path = shard(source)
    pq.write_table(change(pq.read_table(path)), path)
    size = path.stat().st_size
    names = pq.read_table(source / MANIFEST)["path"].to_pylist()
    rewritten(source, with_column("size_bytes", lambda sizes: np.where(np.array(names) == path.name, size, sizes)))
    (finding,) = [each for each in look(source).findings if each.check == "schema"]
    assert finding.verdict is Verdict.FAIL
    assert said in finding.figure


@pytest.mark.parametrize(
    ("column", "change", "said"),
    [
        ("frames", lambda values: values * 0, "fewer frames than clips"),
        ("size_bytes", lambda values: values * 0, "without bytes"),
        ("path", lambda values: np.full_like(values, values[0]), "listed twice"),
    ],
)
def test_a_manifest_that_contradicts_itself_fails(
    source: Path, column: str, change: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    finding = diagnose_manifest(rewritten(source, with_column(column, change)))
    assert finding.verdict is Verdict.FAIL
    assert said in finding.figure


def test_checksums_of_large_shards_are_left_to_a_full_look(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlm3.doctor.shards.CHECKSUM_BYTES", 10)
    (finding,) = [each for each in look(source, full=False).findings if each.check == "checksums"]
    assert (finding.verdict, finding.advice) == (Verdict.CANNOT_TELL, "use --full")
    assert verdicts(look(source, full=True))["checksums"] is Verdict.OK


def test_shards_of_clips_are_those_that_hold_them(source: Path) -> None:
    manifest = read_manifest(open_store(str(source)))
    opened = ShardedSource.open(str(source))
    clips = list(range(opened.clips(Split.TRAIN)))
    assert shards_of(manifest, Split.TRAIN, clips) == [each for each in all_shards(manifest) if each[0] is Split.TRAIN]
    for clip in clips:
        ((split, number),) = shards_of(manifest, Split.TRAIN, [clip])
        assert manifest.locate(split, clip)[0] == manifest.splits[split].file(number)


def test_a_store_that_does_not_answer_is_no_finding_about_the_source(
    source: Path, rclone_server: S3Server, use_s3: Callable[[S3Server], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_s3(rclone_server)
    make_bucket(rclone_server, "doctor")
    store = open_store("s3://doctor/made")
    for path in source.iterdir():
        store.write_atomic(path.name, path.read_bytes())
    manifest = read_manifest(store)
    report = diagnose_shards(store, manifest, all_shards(manifest), full=True)
    assert set(verdicts(report).values()) == {Verdict.OK}
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StorageError):
        diagnose_shards(store, manifest, all_shards(manifest), full=False)
