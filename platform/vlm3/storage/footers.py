"""Footers of Parquet files: fetched in one request each and kept up to a bound of bytes."""

import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass

from vlm3.storage.store import Store

KEPT_BYTES = 64 << 20
"""Bytes of unparsed footers that a process keeps: parsed, they take nine times the memory, and parsing takes 2 ms."""
TAIL_BYTES = 64 << 10
"""Bytes read from the end of a file whose footer's length is not known."""
_END_BYTES = 8
"""Last bytes of a Parquet file: the length of the metadata (4 bytes, little-endian) and the magic number."""


@dataclass(frozen=True, slots=True)
class FooterPlace:
    """A file and where its footer is."""

    store: Store
    path: str
    size_bytes: int
    footer_bytes: int
    """Exact, or a guess: too few cost a second request, too many are fetched for nothing."""
    version: str
    """Differs for a file that was replaced, so that its old footer is never used again."""


def read_footer(store: Store, path: str, size_bytes: int, footer_bytes: int = TAIL_BYTES) -> bytes:
    """The last bytes of a Parquet file, at least its whole footer: one request when `footer_bytes` is enough.

    Bytes that are not a footer are returned as they are; parsing them reports what is wrong.
    """
    wanted = min(max(footer_bytes, _END_BYTES), size_bytes)
    tail = store.read_range(path, size_bytes - wanted, wanted)
    needed = min(int.from_bytes(tail[-_END_BYTES:-4], "little") + _END_BYTES, size_bytes)
    if needed <= wanted:
        return tail
    return store.read_range(path, size_bytes - needed, needed - wanted) + tail


class FooterCache:
    """Footers by file; the least recently used is dropped first. Threads that want the same one share one request."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        """An empty cache that holds at most `kept_bytes`."""
        self._bound, self._held = kept_bytes, 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[FooterPlace, Future[bytes]] = OrderedDict()

    @property
    def held_bytes(self) -> int:
        """Bytes held now."""
        return self._held

    def get(self, place: FooterPlace) -> bytes:
        """The footer of a file, fetched if it is not kept. Raises as `Store.read_range`; a failure is not kept."""
        with self._lock:
            future = self._kept.get(place)
            if future is not None:
                self._kept.move_to_end(place)
            else:
                mine = self._kept[place] = Future()
        if future is not None:
            return future.result()
        try:
            footer = read_footer(place.store, place.path, place.size_bytes, place.footer_bytes)
        except BaseException as error:
            with self._lock:
                self._kept.pop(place, None)
            mine.set_exception(error)
            raise
        with self._lock:
            mine.set_result(footer)
            self._held += len(footer)
            self._evict()
        return footer

    def drop(self, place: FooterPlace) -> None:
        """Forget a footer that turned out to be damaged."""
        with self._lock:
            self._forget(place)

    def _evict(self) -> None:
        for place in list(self._kept):
            if self._held <= self._bound:
                return
            self._forget(place)

    def _forget(self, place: FooterPlace) -> None:
        future = self._kept.get(place)
        # A footer that is still being fetched takes no memory yet, and threads wait for it.
        if future is not None and future.done():
            del self._kept[place]
            self._held -= len(future.result())


FOOTERS = FooterCache()
"""The footers that this process keeps."""
