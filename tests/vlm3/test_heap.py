"""A process that makes and frees images keeps their memory."""

import ctypes
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from vlm3.heap import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def make():
    return [np.ones(3_000_000, np.uint8) for _ in range(8)]
make()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    make()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="glibc's own settings")
def test_kept_memory_is_not_fetched_from_the_kernel_again() -> None:
    assert page_faults("keep") * 10 < page_faults("leave")
