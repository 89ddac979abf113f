"""Realised shares against counting by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm3.mixture.plan import ComponentSize, MixturePlan
from vlm3.mixture.shares import worst_share_error


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.data())
def test_the_worst_error_is_that_of_counting_every_window(samples: list[int], data: st.DataObject) -> None:
    window = data.draw(st.integers(1, len(samples)))
    asked = np.array([0.4, 0.3, 0.2, 0.1])
    by_hand = max(
        abs(samples[first : first + window].count(component) / window - share)
        for first in range(len(samples) - window + 1)
        for component, share in enumerate(asked)
    )
    assert worst_share_error(np.array(samples), asked, window) == pytest.approx(100 * by_hand)


@pytest.mark.parametrize("window", [0, 4])
def test_a_window_without_samples_is_refused(window: int) -> None:
    with pytest.raises(ValueError, match=f"window of {window} samples"):
        worst_share_error(np.array([0, 0, 0]), np.array([1.0]), window)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=20), st.integers(0, 2**40))
def test_the_plan_keeps_every_window_of_512_within_two_samples(weights: list[float], start: int) -> None:
    components = [ComponentSize(f"c{index}", 100, 8, "x") for index in range(len(weights))]
    plan = MixturePlan.start(components, weights, seed=0)
    received = plan.draws(start, start + 5000).component
    assert worst_share_error(received, plan.asked, 512) < 100 * 2 / 512
