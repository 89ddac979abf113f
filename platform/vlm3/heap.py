"""Setting of the C heap for a process that allocates and frees images all the time."""

import ctypes
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameter numbers of glibc's `mallopt`."""
KEPT_BYTES = 256 << 20
LARGEST_BYTES = 32 << 20
"""The most that glibc accepts for this threshold."""


@cache
def keep_freed_memory() -> None:
    """Keep freed blocks of up to `LARGEST_BYTES` in this process for later allocations, `KEPT_BYTES` in all.

    By default, glibc gives freed blocks of an image's size back to the kernel, which must clear each page again for the
    next image: as much work as decoding. Does nothing with another C library.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(_MMAP_THRESHOLD, LARGEST_BYTES)
        libc.mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
