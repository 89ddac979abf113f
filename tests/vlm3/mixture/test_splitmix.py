"""SplitMix64 words: the published values, and the same for integers and arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.mixture.splitmix import below, word

WORDS = st.integers(0, 2**64 - 1)


def test_words_are_the_published_outputs_of_splitmix64() -> None:
    # First outputs of the reference generator seeded with 1234567.
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert [word(1234567, index) for index in range(5)] == expected


@given(WORDS, WORDS)
def test_integers_and_arrays_agree(key: int, index: int) -> None:
    keys, indices = np.array([key, key], np.uint64), np.array([index, 0], np.uint64)
    assert word(keys, indices).tolist() == [word(key, index), word(key, 0)]
    bounds = np.array([1, 2**32 - 1], np.uint64)
    assert below(keys, bounds).tolist() == [below(key, 1), below(key, 2**32 - 1)]


@pytest.mark.parametrize("bound", [1, 2, 7, 1000, 2**32 - 1])
def test_numbers_below_a_bound_stay_below_and_spread(bound: int) -> None:
    keys = np.full(100_000, 5, np.uint64)
    numbers = below(word(keys, np.arange(100_000, dtype=np.uint64)), np.full(100_000, bound, np.uint64))
    assert numbers.max() < bound
    # The mean of uniform numbers is (bound − 1)/2 with a standard error of bound/√(12·N); 6 of them is loose.
    assert abs(numbers.mean() - (bound - 1) / 2) <= 6 * bound / np.sqrt(12 * 100_000)
