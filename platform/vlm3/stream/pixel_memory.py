"""Reused memory for the pixels of a whole parcel: the kernel would spend time on clearing each page of fresh memory."""

import sys

import numpy as np
from numpy.typing import NDArray

KEPT = 2
"""Number of buffers that a process keeps: one being filled, and one whose block has not been handed on yet."""


class PixelMemory:
    """Buffers of one process. A buffer is used again as soon as no array refers to it any more."""

    def __init__(self) -> None:
        self._buffers: list[NDArray[np.uint8]] = []

    def take(self, size_bytes: int) -> NDArray[np.uint8]:
        """(size_bytes,) uint8 with any content; the array and its views may be kept for any time."""
        for buffer in self._buffers:
            # Every view of a NumPy array holds a reference to the array that owns the memory, so all are counted.
            if len(buffer) >= size_bytes and sys.getrefcount(buffer) == _UNUSED:
                return buffer[:size_bytes]
        # An eighth to spare, since parcels differ in size.
        buffer = np.empty(size_bytes + size_bytes // 8, np.uint8)
        self._buffers = [*self._buffers, buffer][-KEPT:]
        return buffer[:size_bytes]


def _references_of_an_unused() -> int:
    """Count of references to an unused buffer as `take` sees it: list, loop and call, in any Python version."""
    buffers = [np.empty(1, np.uint8)]
    return next(sys.getrefcount(buffer) for buffer in buffers)


_UNUSED = _references_of_an_unused()
