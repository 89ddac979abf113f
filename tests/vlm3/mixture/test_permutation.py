"""The keyed shuffle: a bijection at every size, one for each key, without obvious structure."""

from collections import Counter
from math import factorial

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from vlm3.mixture.permutation import MAX_SIZE, permute
from vlm3.mixture.splitmix import word

KEYS = st.integers(0, 2**64 - 1)


def permuted(indices: NDArray[np.uint64], size: int, key: int) -> NDArray[np.uint64]:
    return permute(indices, np.full(len(indices), size, np.uint64), np.full(len(indices), key, np.uint64))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5000), KEYS)
@example(1, 0)
@example(2, 2**64 - 1)
def test_every_index_goes_to_another_place(size: int, key: int) -> None:
    result = permuted(np.arange(size, dtype=np.uint64), size, key)
    assert np.array_equal(np.sort(result), np.arange(size))


@given(st.integers(1, MAX_SIZE), KEYS, st.data())
@example(MAX_SIZE, 0, None)
@example((1 << 20) ** 2 - 1, 1, None)
@example(((1 << 20) - 1) ** 2 + 1, 1, None)
def test_integers_and_arrays_agree_at_every_size(size: int, key: int, data: st.DataObject | None) -> None:
    indices = [0, size - 1] if data is None else data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=8))
    result = permuted(np.array(indices, np.uint64), size, key)
    assert result.tolist() == [permute(index, size, key) for index in indices]
    assert result.max() < size


def test_each_element_of_an_array_has_its_own_size_and_key() -> None:
    sizes, keys = [1, 3, 1000, MAX_SIZE], [word(1, n) for n in range(4)]
    result = permute(np.array([0, 2, 17, 12345], np.uint64), np.array(sizes, np.uint64), np.array(keys, np.uint64))
    assert result.tolist() == [permute(i, s, k) for i, s, k in zip([0, 2, 17, 12345], sizes, keys, strict=True)]


def test_places_never_change() -> None:
    assert [permute(index, 1000, 42) for index in range(6)] == [807, 31, 594, 972, 336, 817]
    assert permute(123_456_789, MAX_SIZE, 42) == 409464099534


@pytest.mark.parametrize("size", [2, 3, 4])
def test_all_orders_of_few_elements_are_equally_likely(size: int) -> None:
    keys = 4000
    orders = Counter(tuple(permute(i, size, word(7, key)) for i in range(size)) for key in range(keys))
    counts = [*orders.values(), *[0] * (factorial(size) - len(orders))]
    assert stats.chisquare(counts).pvalue > 1e-6


@pytest.mark.parametrize("size", [97, 10_000, 250_000_000])
def test_neighbours_and_keys_show_no_structure(size: int) -> None:
    count = 50_000
    first = np.arange(min(size, count), dtype=np.uint64)
    one = permuted(first, size, word(3, 0)).astype(np.int64)
    two = permuted(first, size, word(3, 1)).astype(np.int64)
    samples = {
        "places": one,
        "steps from one to the next": np.diff(one) % size,
        "differences between two keys": (one - two) % size,
    }
    # 16 bins of values; of a small size they hold different numbers of values.
    edges = np.ceil(np.linspace(0, size, 17))
    for what, values in samples.items():
        observed, _ = np.histogram(values, edges - 0.5)
        assert stats.chisquare(observed, np.diff(edges) / size * len(values)).pvalue > 1e-7, what
