"""Manifests: what is written is read, in order, small in memory, and damage is the user's to know."""

from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.errors import DataError
from vlm3.storage.manifest import MANIFEST, SourceInfo, read_manifest, write_manifest
from vlm3.storage.shards import Shard, ShardFile
from vlm3.storage.split import Split
from vlm3.storage.store import open_store

INFO = SourceInfo("rooms", "train", 1, 8, "metric", "key", 0, "0.1")


def shard(name: str, clips: int) -> Shard:
    file = ShardFile(f"{name}.parquet", 1000 + clips, sha256(name.encode()).hexdigest(), 300)
    return Shard(file, clips, 4 * clips)


def shards_of(split: Split, clips: list[int]) -> list[Shard]:
    return [shard(f"{split}-{number}", count) for number, count in enumerate(clips)]


@given(st.lists(st.integers(1, 5), max_size=6), st.lists(st.integers(1, 5), max_size=6))
def test_every_clip_is_located_in_the_shard_that_was_written(
    tmp_path_factory: pytest.TempPathFactory, train: list[int], held_out: list[int]
) -> None:
    store = open_store(str(tmp_path_factory.mktemp("source")))
    written = {Split.TRAIN: shards_of(Split.TRAIN, train), Split.EVAL: shards_of(Split.EVAL, held_out)}
    manifest = write_manifest(store, INFO, written)
    assert manifest.info == INFO and len(manifest.fingerprint) == 16
    for split, shards in written.items():
        expected = [(each.file, clip) for each in shards for clip in range(each.clips)]
        assert [manifest.locate(split, clip) for clip in range(len(expected))] == expected
        assert manifest.splits[split].clips == len(expected)
        assert manifest.splits[split].frames == 4 * len(expected)
        with pytest.raises(IndexError, match=f"has {len(expected)} clips, number {len(expected)} was asked for"):
            manifest.locate(split, len(expected))
    assert manifest.files == tuple(each.file for split in Split for each in written.get(split, ()))


def test_rows_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    manifest = write_manifest(store, INFO, {Split.TRAIN: shards_of(Split.TRAIN, [3, 1, 2])})
    table = pq.read_table(tmp_path / MANIFEST)
    pq.write_table(table.take([2, 0, 1]), tmp_path / MANIFEST, row_group_size=1)
    again = read_manifest(store)
    assert again.files == manifest.files
    assert [again.locate(Split.TRAIN, clip) for clip in range(6)] == [
        manifest.locate(Split.TRAIN, clip) for clip in range(6)
    ]


def test_a_shard_takes_65_bytes_of_memory_at_most(tmp_path: Path) -> None:
    names = [f"train-g0-{number:05d}-000" for number in range(2000)]
    manifest = write_manifest(open_store(str(tmp_path)), INFO, {Split.TRAIN: [shard(name, 2) for name in names]})
    train = manifest.splits[Split.TRAIN]
    assert train.nbytes < 65 * len(names)


@pytest.mark.parametrize("text", ["ab", "z" * 64, None])
def test_a_digest_that_is_none_is_damage(tmp_path: Path, text: str | None) -> None:
    store = open_store(str(tmp_path))
    write_manifest(store, INFO, {Split.TRAIN: shards_of(Split.TRAIN, [3, 1])})
    table = pq.read_table(tmp_path / MANIFEST)
    spoilt = pa.array([text, table["sha256"][1].as_py()], pa.string())
    pq.write_table(table.set_column(table.column_names.index("sha256"), "sha256", spoilt), tmp_path / MANIFEST)
    with pytest.raises(DataError, match=r"manifest\.parquet: not a manifest or damaged"):
        read_manifest(store)


def test_a_role_that_is_none_is_damage(tmp_path: Path) -> None:
    """Read as a training source, held-out data would get weight."""
    store = open_store(str(tmp_path))
    write_manifest(store, INFO, {Split.TRAIN: shards_of(Split.TRAIN, [3, 1])})
    table = pq.read_table(tmp_path / MANIFEST)
    pq.write_table(table.replace_schema_metadata(table.schema.metadata | {b"vlm3.role": b"test"}), tmp_path / MANIFEST)
    with pytest.raises(DataError, match=r"manifest\.parquet: not a manifest or damaged \('test'\)"):
        read_manifest(store)


def test_a_missing_or_foreign_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no complete source here \(manifest\.parquet is missing\)"):
        read_manifest(open_store(str(tmp_path)))
    (tmp_path / MANIFEST).write_bytes(b"PAR1 not Parquet")
    with pytest.raises(DataError, match="damaged"):
        read_manifest(open_store(str(tmp_path)))


@pytest.mark.parametrize(("column", "said"), [("number", "have gaps"), ("first_clip", "do not add up")])
def test_a_manifest_whose_counts_contradict_each_other_is_damage(tmp_path: Path, column: str, said: str) -> None:
    store = open_store(str(tmp_path))
    write_manifest(store, INFO, {Split.TRAIN: shards_of(Split.TRAIN, [3, 1])})
    table = pq.read_table(tmp_path / MANIFEST)
    wrong = pa.array([value + 1 for value in table[column].to_pylist()], pa.int64())
    pq.write_table(table.set_column(table.column_names.index(column), column, wrong), tmp_path / MANIFEST)
    with pytest.raises(DataError, match=rf"manifest\.parquet: .*{said}"):
        read_manifest(store)
