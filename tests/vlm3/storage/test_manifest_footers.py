"""The manifest says exactly where a shard's footer is, and manifests that do not are read as well."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.shard_fixtures import clip_extent, write_source
from vlm3.errors import DataError
from vlm3.scenes.sharded import DEPTH_COLUMNS, ShardedSource
from vlm3.storage.counters import storage_use
from vlm3.storage.footers import TAIL_BYTES
from vlm3.storage.manifest import MANIFEST, read_manifest
from vlm3.storage.split import Split
from vlm3.storage.store import open_store


def test_a_shards_footer_is_everything_behind_its_last_clip(tmp_path: Path) -> None:
    write_source(open_store(str(tmp_path)), shards=2, clips=3)
    for file in read_manifest(open_store(str(tmp_path))).files:
        path = tmp_path / file.path
        assert file.footer_bytes == pq.read_metadata(path).serialized_size + 8
        assert file.size_bytes - file.footer_bytes == max(clip_extent(path, clip)[1] for clip in range(3))


def test_a_manifest_of_before_footers_were_listed_is_still_read(tmp_path: Path) -> None:
    source = write_source(open_store(str(tmp_path)), shards=2, clips=3)
    expected = [source.read_clip(Split.TRAIN, clip, DEPTH_COLUMNS) for clip in range(6)]
    table = pq.read_table(tmp_path / MANIFEST)
    pq.write_table(table.drop_columns(["footer_bytes"]), tmp_path / MANIFEST)
    folder = tmp_path.rename(tmp_path.with_name("old"))
    old = ShardedSource.open(str(folder))
    assert {file.footer_bytes for file in read_manifest(open_store(str(folder))).files} == {TAIL_BYTES}
    for clip in range(6):
        frames = old.read_clip(Split.TRAIN, clip, DEPTH_COLUMNS)
        assert [f.encoded_image for f in frames] == [f.encoded_image for f in expected[clip]]


def test_a_manifest_with_figures_of_each_clip_is_read_without_them(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    source = write_source(open_store(str(folder)), shards=2, clips=3)
    expected = source.read_clip(Split.TRAIN, 4, DEPTH_COLUMNS)
    table, lists = pq.read_table(folder / MANIFEST), pa.array([[4, 4, 4]] * 2, pa.list_(pa.int64()))
    for name in ("row_group_offsets", "row_group_lengths", "clip_frames"):
        table = table.append_column(name, lists)
    for name in ("clip_covisible_share", "clip_median_baseline_m"):
        table = table.append_column(name, pa.array([[0.5, None, 0.25]] * 2, pa.list_(pa.float32())))
    pq.write_table(table, folder / MANIFEST)
    old = ShardedSource.open(str(folder.rename(tmp_path / "old")))
    assert old.fingerprint == source.fingerprint
    found = old.read_clip(Split.TRAIN, 4, DEPTH_COLUMNS)
    assert [frame.encoded_image for frame in found] == [frame.encoded_image for frame in expected]


def test_a_small_manifest_is_two_requests(tmp_path: Path) -> None:
    write_source(open_store(str(tmp_path)), shards=3, clips=2)
    before = storage_use()
    read_manifest(open_store(str(tmp_path)))
    assert storage_use().since(before).requests == 2, "its size, and its bytes"


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all, but some text", bytes(100_000)])
def test_what_is_no_manifest_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(DataError, match="not a manifest or damaged"):
        read_manifest(open_store(str(tmp_path)))
