"""A footer is one request where its length is known, and footers are kept under a bound of bytes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlm3.errors import DataError
from vlm3.storage.footers import FooterCache, FooterPlace, read_footer
from vlm3.storage.store import Store, open_store


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of all reads from here on; the folder holds 0.bin … 9.bin, of 1000 bytes that could be footers."""
    for i in range(10):
        (tmp_path / f"{i}.bin").write_bytes(bytes(992) + (800).to_bytes(4, "little") + b"PAR1")
    lengths: list[int] = []
    whole = Store.read_range
    monkeypatch.setattr(Store, "read_range", lambda s, p, o, n: lengths.append(n) or whole(s, p, o, n))
    return lengths


def place(folder: Path, number: int, footer_bytes: int = 808) -> FooterPlace:
    return FooterPlace(open_store(str(folder)), f"{number}.bin", 1000, footer_bytes, "version")


@pytest.mark.parametrize(
    ("guess", "requests"), [(808, [808]), (900, [900]), (100, [100, 708]), (0, [8, 800]), (10**6, [1000])]
)
def test_a_good_guess_is_one_request_and_a_poor_one_two(
    tmp_path: Path, reads: list[int], guess: int, requests: list[int]
) -> None:
    footer = read_footer(open_store(str(tmp_path)), "1.bin", 1000, guess)
    assert reads == requests
    assert (tmp_path / "1.bin").read_bytes().endswith(footer) and len(footer) >= 808


def test_a_real_file_needs_exactly_its_metadata(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": range(1000)}), tmp_path / "x.parquet", row_group_size=10)
    size = (tmp_path / "x.parquet").stat().st_size
    footer = read_footer(open_store(str(tmp_path)), "x.parquet", size, 100)
    assert len(footer) == pq.read_metadata(tmp_path / "x.parquet").serialized_size + 8
    assert pq.read_metadata(pa.BufferReader(footer)).num_row_groups == 100


def test_bytes_stay_under_the_bound_and_the_least_used_goes_first(tmp_path: Path, reads: list[int]) -> None:
    cache = FooterCache(kept_bytes=3 * 808)
    for number in (0, 1, 2, 0, 3):
        cache.get(place(tmp_path, number))
        assert cache.held_bytes <= 3 * 808
    assert len(reads) == 4
    cache.get(place(tmp_path, 0))
    assert len(reads) == 4, "used again lately: kept"
    cache.get(place(tmp_path, 1))
    assert len(reads) == 5, "the oldest had to go"


def test_a_footer_above_the_bound_is_given_but_not_kept(tmp_path: Path, reads: list[int]) -> None:
    cache = FooterCache(kept_bytes=800)
    assert len(cache.get(place(tmp_path, 0))) == len(cache.get(place(tmp_path, 0))) == 808
    assert cache.held_bytes == 0 and len(reads) == 2


def test_a_dropped_footer_and_one_of_another_version_are_read_anew(tmp_path: Path, reads: list[int]) -> None:
    cache = FooterCache()
    first = place(tmp_path, 0)
    cache.get(first)
    cache.drop(first)
    assert cache.held_bytes == 0
    cache.drop(first)
    cache.get(first)
    cache.get(FooterPlace(first.store, first.path, 1000, 808, "other"))
    assert len(reads) == 3 and cache.held_bytes == 2 * 808


def test_a_failure_reaches_every_thread_that_waits_and_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, missing, started, go_on = FooterCache(), place(tmp_path, 5), Event(), Event()
    whole = Store.read_range

    def held_up(store: Store, path: str, offset: int, length: int) -> bytes:
        started.set()
        assert go_on.wait(10)
        return whole(store, path, offset, length)

    monkeypatch.setattr(Store, "read_range", held_up)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(cache.get, missing)]
        assert started.wait(10)
        waiting += [pool.submit(cache.get, missing) for _ in range(3)]
        cache.drop(missing)  # of one that is on its way: nothing to forget yet
        go_on.set()
        for future in waiting:
            with pytest.raises(DataError, match="no such file"):
                future.result(10)
    (tmp_path / "5.bin").write_bytes(bytes(992) + (800).to_bytes(4, "little") + b"PAR1")
    assert len(cache.get(missing)) == 808
