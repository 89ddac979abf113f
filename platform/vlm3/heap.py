"""The C heap of a process that makes and frees images all the time."""

import ctypes
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Of glibc's `mallopt`."""
KEPT_BYTES = 256 << 20
LARGEST_BYTES = 32 << 20
"""glibc refuses more."""


@cache
def keep_freed_memory() -> None:
    """Keep freed blocks of up to `LARGEST_BYTES` in this process for what is allocated next, `KEPT_BYTES` in all.

    glibc gives blocks of an image's size back to the kernel when they are freed, which clears each page again when the
    next image touches it: as much work as decoding. Does nothing with another C library.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(_MMAP_THRESHOLD, LARGEST_BYTES)
        libc.mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
