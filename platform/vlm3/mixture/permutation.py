"""A keyed shuffle of [0, size) that needs no memory: element i of the shuffled order is computed in O(1).

A generalised Feistel network on a grid rows × columns with rows ≈ √size, and cycle walking for the few cells beyond
size (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002). So a petabyte of clips needs no index.
"""

from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm3.mixture.splitmix import Word, below, word

_Words = NDArray[np.integer[Any]]
MAX_SIZE = 1 << 40
_ROUNDS = 8
"""Enough that all orders of 4 elements are equally frequent (chi-square test over keys); 6 rounds favour some."""


def permute(index: Word, size: Word, key: Word) -> Word:
    """Element at place `index` of the shuffle with key `key`.

    Args:
        index: numbers in [0, size), an integer or an (N,) uint64 array.
        size: number of elements, 1 … 2⁴⁰, of the type and shape of `index`.
        key: a well-mixed 64-bit word for each index (`vlm3.mixture.splitmix.word`), of the type and shape of `index`.

    Returns:
        Numbers in [0, size): a bijection of `index` for each pair (size, key). Integers and arrays agree.
    """
    if isinstance(index, int):
        return _permute_one(index, size, key)
    return _permute_many(index, size, key)


def _permute_one(index: int, size: int, key: int) -> int:
    rows = isqrt(size - 1) + 1
    columns = -(-size // rows)
    index = _encipher(index, rows, columns, key)
    while index >= size:
        index = _encipher(index, rows, columns, key)
    return index


def _permute_many(index: _Words, size: _Words, key: _Words) -> _Words:
    # Exact: float64 distinguishes all sizes up to 2⁴⁰ and their square roots.
    rows = np.ceil(np.sqrt(size)).astype(np.uint64)
    columns = (size + rows - 1) // rows
    result: _Words = _encipher(index, rows, columns, key)
    outside = np.flatnonzero(result >= size)
    while outside.size:
        result[outside] = _encipher(result[outside], rows[outside], columns[outside], key[outside])
        outside = outside[result[outside] >= size[outside]]
    return result


def _encipher(index: Word, rows: Word, columns: Word, key: Word) -> Word:
    row, column = index // columns, index % columns
    for number in range(0, _ROUNDS, 2):
        row = (row + below(word(key, column * _ROUNDS + number), rows)) % rows
        column = (column + below(word(key, row * _ROUNDS + number + 1), columns)) % columns
    cell: Word = row * columns + column
    return cell
