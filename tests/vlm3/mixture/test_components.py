"""Weights by name, and how many samples a cap allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.errors import ConfigError
from vlm3.mixture.components import ComponentSize, sample_limits, weights_by_name

SIZES = (ComponentSize("rooms/depth", 7, 4, "aa"), ComponentSize("a/b/pose", 1, 1, "bb"))


def test_names_become_places_and_what_is_not_named_is_kept() -> None:
    assert weights_by_name(SIZES, {"a/b/pose": 0.5}) == (None, 0.5)
    assert weights_by_name(SIZES, {"a/b/pose": 0, "rooms/depth": 2}) == (2, 0)
    with pytest.raises(ConfigError, match="no component 'rooms/pose'; did you mean 'rooms/depth'"):
        weights_by_name(SIZES, {"rooms/pose": 1})


@given(st.integers(1, 10**9), st.integers(1, 64), st.floats(0.01, 100))
def test_a_limit_is_the_greatest_number_of_samples_within_the_epochs(clips: int, slots: int, epochs: float) -> None:
    elements = clips * slots
    size = ComponentSize("c", clips, slots, "x")
    if epochs * elements < 0.999:
        with pytest.raises(ConfigError, match="less than one sample"):
            sample_limits([size], [epochs])
    elif epochs * elements > 1.001:
        (limit,) = sample_limits([size], [epochs])
        assert limit is not None
        assert limit / elements <= epochs * (1 + 1e-12) and (limit + 1) / elements > epochs * (1 - 1e-12)


def test_whole_epochs_are_whole_and_components_without_data_have_no_limit() -> None:
    empty = ComponentSize("later/depth", 0, 4, "x")
    assert sample_limits((*SIZES, empty), [3, None, 2]) == (84, None, None)
