"""Columns of a Parquet file's row groups, fetched in as few requests as their places in the file allow.

Bytes are fetched first and decoded afterwards. So no exception of the store passes through Arrow, and a failing store
is never confused with damaged bytes; and requests wait in the caller's thread, not in one of Arrow's few threads.
"""

import io
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

import pyarrow as pa
import pyarrow.parquet as pq

from vlm3.storage.store import Store

PARSED_KEPT = 16
"""Parsed footers that a process keeps: 2 MB each for 64 clips."""
GAP_BYTES = 64 << 10
"""Longest gap between two wanted ranges that is fetched with them: cheaper than the latency of another request."""


def read_columns(
    store: Store,
    path: str,
    size_bytes: int,
    footer: bytes,
    columns: Collection[str],
    row_groups: Iterable[int] | None = None,
) -> pa.Table:
    """Read the top-level `columns` of `row_groups` (None: all) of a file.

    Args:
        store: store that holds the file.
        path: path of the file.
        size_bytes: size of the file.
        footer: last bytes of the file, with at least its whole footer; columns inside them are not fetched again.
        columns: top-level names, in the order of the result; those that the file lacks are left out.
        row_groups: numbers of the row groups, in any order.

    Raises:
        ArrowException, OSError: the bytes are damaged; pages are compared with their checksums.
        DataError, StorageError: as `Store.read_range`.
    """
    metadata = _parsed(footer)
    groups = list(range(metadata.num_row_groups) if row_groups is None else row_groups)
    wanted = [extent for group in groups for extent in column_extents(metadata, group, columns)]
    file, tail_start = _PartialFile(size_bytes), size_bytes - len(footer)
    file.add(tail_start, footer)
    for start, stop in coalesce(wanted, GAP_BYTES):
        if not 0 <= start < stop <= size_bytes:
            raise OSError(f"footer places a column at bytes {start} to {stop} of a file of {size_bytes}")
        if start < tail_start:
            file.add(start, store.read_range(path, start, stop - start))
    reader = pq.ParquetFile(file, metadata=metadata, pre_buffer=False, page_checksum_verification=True)
    return reader.read_row_groups(groups, columns=list(columns))


@lru_cache(maxsize=PARSED_KEPT)
def _parsed(footer: bytes) -> pq.FileMetaData:
    """A parsed footer, cached: parsing takes 2 ms for 64 clips, and neighbours in a stream often share a shard."""
    return pq.read_metadata(pa.BufferReader(footer))


def column_extents(
    metadata: pq.FileMetaData, row_group: int, columns: Collection[str] | None = None
) -> list[tuple[int, int]]:
    """Byte range [start, stop) in the file of each column chunk of a row group, for top-level `columns` (None: all)."""
    group = metadata.row_group(row_group)
    extents = []
    for chunk in map(group.column, range(group.num_columns)):
        if columns is None or chunk.path_in_schema.split(".", 1)[0] in columns:
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            extents.append((start, start + chunk.total_compressed_size))
    return extents


def coalesce(extents: Sequence[tuple[int, int]], gap_bytes: int) -> list[tuple[int, int]]:
    """The fewest ranges [start, stop) that cover `extents`, joined where at most `gap_bytes` lie between them."""
    ranges: list[tuple[int, int]] = []
    for start, stop in sorted(extents):
        if ranges and start - ranges[-1][1] <= gap_bytes:
            ranges[-1] = (ranges[-1][0], max(stop, ranges[-1][1]))
        else:
            ranges.append((start, stop))
    return ranges


class _PartialFile(io.RawIOBase):
    """A file of which some ranges are in memory; reading elsewhere is an error."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__()
        self._size_bytes, self._position = size_bytes, 0
        self._starts: list[int] = []
        self._pieces: list[memoryview] = []

    def add(self, start: int, data: bytes) -> None:
        at = bisect_right(self._starts, start)
        self._starts.insert(at, start)
        self._pieces.insert(at, memoryview(data))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> memoryview:
        # Arrow takes any buffer: nothing is copied.
        left = max(self._size_bytes - self._position, 0)
        wanted = left if size < 0 else min(size, left)
        at = bisect_right(self._starts, self._position) - 1
        offset = self._position - self._starts[at] if at >= 0 else 0
        piece = self._pieces[at][offset : offset + wanted] if at >= 0 else memoryview(b"")
        if len(piece) != wanted:
            raise OSError(f"footer does not tell of {wanted} bytes at {self._position}")
        self._position += wanted
        return piece
