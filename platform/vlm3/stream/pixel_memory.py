"""Memory for the pixels of a whole parcel, used again: the kernel clears each page of fresh memory."""

import sys

import numpy as np
from numpy.typing import NDArray

KEPT = 2
"""Buffers a process keeps: one that is being filled, one whose block has not left yet."""


class PixelMemory:
    """Buffers of one process. A buffer is used again as soon as no array looks into it any more."""

    def __init__(self) -> None:
        self._buffers: list[NDArray[np.uint8]] = []

    def take(self, size_bytes: int) -> NDArray[np.uint8]:
        """(size_bytes,) uint8 of any content; it, and what is made of it, may be kept as long as one likes."""
        for buffer in self._buffers:
            # Every view of a NumPy array holds the array that owns the memory, so the count misses none.
            if len(buffer) >= size_bytes and sys.getrefcount(buffer) == _UNUSED:
                return buffer[:size_bytes]
        # An eighth to spare, since no two parcels are of one size.
        buffer = np.empty(size_bytes + size_bytes // 8, np.uint8)
        self._buffers = [*self._buffers, buffer][-KEPT:]
        return buffer[:size_bytes]


def _references_of_an_unused() -> int:
    """As counted in `take`: those of the list, of the loop and of the count itself, however Python holds them."""
    buffers = [np.empty(1, np.uint8)]
    return next(sys.getrefcount(buffer) for buffer in buffers)


_UNUSED = _references_of_an_unused()
