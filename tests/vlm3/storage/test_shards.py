"""What reading a clip asks of a real server: how many requests, which bytes, no listing; damage told from failure."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.fault_proxy import Fault, Faults, Proxied
from tests.shard_fixtures import clip_extent, write_shard, write_source
from vlm3.errors import DataError
from vlm3.scenes.rows import SCHEMA
from vlm3.scenes.sharded import DEPTH_COLUMNS, ShardedSource
from vlm3.storage.columns import column_extents
from vlm3.storage.failures import StorageError
from vlm3.storage.footers import FOOTERS
from vlm3.storage.shards import read_clip, verify_shard
from vlm3.storage.split import Split
from vlm3.storage.store import Store, open_store


def test_training_columns_come_in_one_request_a_clip_once_the_footer_is_there(proxied: Proxied) -> None:
    store = proxied.store
    shard = write_shard(store, 0, clips=12)
    metadata = pq.read_metadata(proxied.folder / shard.file.path)
    proxied.proxy.reset(Faults())
    for clip in range(12):
        read_clip(store, shard.file, clip, DEPTH_COLUMNS)
    assert proxied.proxy.methods == {"GET": 13} and proxied.proxy.lists == 0
    (_, start, stop), *clips = proxied.proxy.ranges
    assert (stop, stop - start) == (shard.file.size_bytes, shard.file.footer_bytes)
    needed = [size(column_extents(metadata, clip, DEPTH_COLUMNS)) for clip in range(12)]
    assert [stop - start for _, start, stop in clips] == needed, "not a byte more than the projection"
    extents = [clip_extent(proxied.folder / shard.file.path, clip) for clip in range(12)]
    assert all(first <= start < stop <= end for (_, start, stop), (first, end) in zip(clips, extents, strict=True))


def test_threads_that_start_together_fetch_a_footer_once(proxied: Proxied) -> None:
    store = proxied.store
    shard = write_shard(store, 1, clips=8)
    proxied.proxy.reset(Faults(latency_s=0.1))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda clip: read_clip(store, shard.file, clip, DEPTH_COLUMNS), range(8)))
    assert proxied.proxy.methods == {"GET": 9}


def test_opening_a_source_and_reading_it_never_lists(proxied: Proxied) -> None:
    uri = write_source(proxied.store, shards=3, clips=2).uri
    proxied.proxy.reset(Faults())
    source = ShardedSource.open(uri)
    for clip in range(source.clips(Split.TRAIN)):
        source.read_clip(Split.TRAIN, clip, DEPTH_COLUMNS)
    assert proxied.proxy.lists == 0
    with pytest.raises(DataError, match="no complete source"):
        ShardedSource.open(f"{uri}-not-there")
    assert proxied.proxy.lists == 0, "not even to see that nothing is there"
    open_store(uri).list()
    assert proxied.proxy.lists > 0, "the proxy sees listings"


def test_threads_that_start_together_load_a_manifest_once(proxied: Proxied) -> None:
    source = write_source(proxied.store, shards=2, clips=4)
    proxied.proxy.reset(Faults(latency_s=0.05))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda clip: source.read_clip(Split.TRAIN, clip, DEPTH_COLUMNS), range(8)))
    assert proxied.proxy.methods == {"HEAD": 1, "GET": 1 + 2 + 8}, "the manifest, two footers, eight clips"


@pytest.mark.parametrize("columns", [("scene", "boxes"), ("fx_px",), ("encoded_image", "boxes"), tuple(SCHEMA.names)])
def test_any_columns_are_what_arrow_reads_from_the_whole_file(tmp_path: Path, columns: tuple[str, ...]) -> None:
    store = open_store(str(tmp_path))
    shard = write_shard(store, 0, clips=3)
    whole = pq.ParquetFile(tmp_path / shard.file.path)
    for clip in range(3):
        found, expected = read_clip(store, shard.file, clip, columns), whole.read_row_group(clip, columns=list(columns))
        assert found.schema == expected.schema
        assert repr(found.to_pylist()) == repr(expected.to_pylist()), "NaN equals itself in print"


def test_damaged_bytes_are_read_twice_and_then_named(proxied: Proxied) -> None:
    store = proxied.store
    shard = write_shard(store, 2, clips=2)
    file = proxied.folder / shard.file.path
    data = bytearray(file.read_bytes())
    data[sum(clip_extent(file, 1)) // 2] ^= 1
    file.write_bytes(data)
    proxied.proxy.reset(Faults())
    with pytest.raises(DataError, match=rf"{shard.file.path}, clip 1: shard is damaged .*CRC.*--replace"):
        read_clip(store, shard.file, 1, tuple(SCHEMA.names))
    assert proxied.proxy.methods == {"GET": 4}, "the footer and the clip, twice"
    assert read_clip(store, shard.file, 0, tuple(SCHEMA.names)).num_rows == 4
    with pytest.raises(DataError, match=r"expected SHA-256"):
        verify_shard(store, shard.file)


@pytest.mark.parametrize("number", [0, 1], ids=["footer", "clip"])
def test_bytes_that_were_damaged_on_the_way_once_are_read_again(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(str(tmp_path))
    shard = write_shard(store, 0, clips=1)
    good, reads = Store.read_range, count()

    def damaged_once(store: Store, path: str, offset: int, length: int) -> bytes:
        data = good(store, path, offset, length)
        return data[:-1] + bytes([data[-1] ^ 1]) if next(reads) == number else data

    monkeypatch.setattr(Store, "read_range", damaged_once)
    assert read_clip(store, shard.file, 0, DEPTH_COLUMNS).num_rows == 4
    assert "reading it again" in caplog.text


@pytest.mark.parametrize("damage", ["footer", "cut", "gone"])
def test_a_damaged_footer_a_cut_or_a_missing_shard_says_what_to_do(tmp_path: Path, damage: str) -> None:
    store = open_store(str(tmp_path))
    shard = write_shard(store, 0, clips=2)
    file = tmp_path / shard.file.path
    data = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        cut = len(data) - shard.file.footer_bytes
        file.write_bytes(data[: cut - 10] if damage == "cut" else data[:cut] + bytes(shard.file.footer_bytes))
    with pytest.raises(DataError, match=r"clip 1: .*(damaged|truncated|no such file).*ingest the source again"):
        read_clip(store, shard.file, 1, DEPTH_COLUMNS)


@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.RESET, Fault.TRUNCATED, Fault.SHORT])
def test_a_store_that_fails_is_never_taken_for_damaged_data(
    proxied: Proxied, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlm3.storage.retrying.FIRST_PAUSE_S", 0.01)
    store = proxied.store
    shard = write_shard(store, 3, clips=2)
    for footer_is_there in (False, True):
        if footer_is_there:
            proxied.proxy.reset(Faults())
            read_clip(store, shard.file, 0, DEPTH_COLUMNS)
        proxied.proxy.reset(Faults({fault: 1.0}))
        with pytest.raises(StorageError, match=r"given up after 8 attempts") as caught:
            read_clip(store, shard.file, 1, DEPTH_COLUMNS)
        assert not isinstance(caught.value, DataError), "what handles bad content must not see it"
    proxied.proxy.reset(Faults())
    assert read_clip(store, shard.file, 1, DEPTH_COLUMNS).num_rows == 4, "a failure is not kept"
    assert FOOTERS.held_bytes > 0


def size(extents: list[tuple[int, int]]) -> int:
    return sum(stop - start for start, stop in extents)
