"""Ranges are joined over small gaps only, and no byte is fetched that neither a column nor a gap accounts for."""

import tempfile
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm3.storage import columns as columns_module
from vlm3.storage.columns import coalesce, column_extents, read_columns
from vlm3.storage.footers import read_footer
from vlm3.storage.store import Store, open_store

NAMES = tuple("abcdefgh")
extents = st.lists(st.tuples(st.integers(0, 500), st.integers(1, 60)).map(lambda e: (e[0], e[0] + e[1])), max_size=12)


def covered(ranges: list[tuple[int, int]]) -> set[int]:
    return {byte for start, stop in ranges for byte in range(start, stop)}


@given(extents, st.integers(0, 50))
def test_joined_ranges_cover_what_is_wanted_and_small_gaps_only(wanted: list[tuple[int, int]], gap: int) -> None:
    joined = coalesce(wanted, gap)
    assert covered(wanted) <= covered(joined)
    assert joined == sorted(joined)
    assert all(start - stop > gap for (_, stop), (start, _) in pairwise(joined)), "the fewest"
    gaps = [(stop, start) for (_, stop), (start, _) in pairwise(coalesce(wanted, 0)) if start - stop <= gap]
    assert covered(joined) - covered(wanted) == covered(gaps)


@pytest.fixture(scope="module")
def file() -> tuple[Store, str, pa.Table]:
    """A file of three row groups; the columns are of very different sizes."""
    folder = Path(tempfile.mkdtemp())
    table = pa.table(
        {name: pa.array([bytes([i]) * (10 ** (i % 5)) for _ in range(30)]) for i, name in enumerate(NAMES)}
    )
    pq.write_table(table, folder / "t.parquet", row_group_size=10, compression="NONE", use_dictionary=False)
    return open_store(str(folder)), "t.parquet", table


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(NAMES), unique=True, min_size=1),
    st.lists(st.integers(0, 2), unique=True, min_size=1),
    st.sampled_from([0, 1000, 200_000]),
)
def test_bytes_fetched_are_the_projection_and_the_gaps(
    file: tuple[Store, str, pa.Table], names: list[str], groups: list[int], gap: int
) -> None:
    store, path, table = file
    size = store.size(path)
    assert size is not None
    metadata = pq.read_metadata(Path(store.uri) / path)
    footer = read_footer(store, path, size, metadata.serialized_size + 8)
    fetched: list[tuple[int, int]] = []
    whole = Store.read_range
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "read_range", lambda s, p, o, n: fetched.append((o, o + n)) or whole(s, p, o, n))
        patch.setattr(columns_module, "GAP_BYTES", gap)
        found = read_columns(store, path, size, footer, names, groups)
    expected = pa.concat_tables([table.slice(10 * group, 10) for group in groups])
    assert found.equals(expected.select(names))
    wanted = [extent for group in groups for extent in column_extents(metadata, group, names)]
    needed = sum(stop - start for start, stop in wanted)
    assert needed <= sum(stop - start for start, stop in fetched) <= needed + gap * (len(wanted) - 1)
    assert len(fetched) == len(coalesce(wanted, gap))


def test_columns_that_the_file_lacks_are_left_out(file: tuple[Store, str, pa.Table]) -> None:
    store, path, table = file
    size = store.size(path)
    assert size is not None
    assert read_columns(store, path, size, read_footer(store, path, size), ["b", "z"]).equals(table.select(["b"]))


def test_columns_that_lie_in_the_tail_are_not_fetched_again(
    file: tuple[Store, str, pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, path, table = file
    size = store.size(path)
    assert size is not None
    tail = read_footer(store, path, size, size)
    monkeypatch.setattr(Store, "read_range", lambda *_: pytest.fail("a request"))
    assert read_columns(store, path, size, tail, NAMES).equals(table)
