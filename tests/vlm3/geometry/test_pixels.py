"""What is resized about pixel centres at whole numbers."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.geometry.pixels import scaled_px

SCALES = st.floats(0.05, 20)


@given(st.floats(-1e4, 1e4), SCALES, SCALES)
def test_scaling_twice_is_scaling_once_and_the_corner_stays(at_px: float, one: float, other: float) -> None:
    assert scaled_px(scaled_px(at_px, one), other) == pytest.approx(scaled_px(at_px, one * other), abs=1e-6)
    assert scaled_px(-0.5, one) == -0.5


def test_a_ramp_that_opencv_resizes_lies_where_it_says() -> None:
    ramp = np.arange(40, dtype=np.float64)[None].repeat(8, axis=0)
    larger = cv2.resize(ramp, None, fx=2.5, fy=1, interpolation=cv2.INTER_LINEAR)[0]
    inner = np.arange(4, 96)
    # The pixel that lies at c' in the larger image shows the value, which is the coordinate, c.
    np.testing.assert_allclose(scaled_px(larger[inner], 2.5), inner, atol=1e-3)
