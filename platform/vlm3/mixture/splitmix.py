"""SplitMix64: one 64-bit word from a key and an index, by arithmetic alone, for Python integers and NumPy arrays.

Source of the constants: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014). They
must never change: the contents of every stream, and so of checkpoints, depend on these words.
"""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Word = TypeVar("Word", int, NDArray[np.integer[Any]])
"""Unsigned 64-bit numbers: a Python integer in [0, 2⁶⁴), or a uint64 array (NumPy's stubs lose track of its type)."""

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF  # for Python integers; uint64 arrays wrap by themselves


def word(key: Word, index: Word) -> Word:
    """Output number `index` of the SplitMix64 generator seeded with `key`.

    A bijection of `index` for each key: two indices never share a word.
    """
    mixed = (key + (index + 1) * _GOLDEN) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return mixed ^ (mixed >> 31)


def below(random_word: Word, bound: Word) -> Word:
    """A number in [0, bound) from the upper half of a word (Lemire's multiply-shift); bound < 2³²."""
    return ((random_word >> 32) * bound) >> 32
