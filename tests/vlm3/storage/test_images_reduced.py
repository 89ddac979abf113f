"""Reduced decoding: never smaller than asked, and its scale is exact."""

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from vlm3.storage.images import decode_at_least


@given(st.integers(8, 130), st.integers(8, 130), st.floats(0.01, 1.0))
def test_what_is_decoded_is_at_least_as_large_as_asked(width: int, height: int, scale: float) -> None:
    encoded = simplejpeg.encode_jpeg(np.zeros((height, width, 3), np.uint8), 90, "RGB", "420")
    decoded = decode_at_least(encoded, scale)
    assert scale <= decoded.scale_x == decoded.scale_y <= 1
    assert decoded.pixels.shape == (-(-height * decoded.scale_y // 1), -(-width * decoded.scale_x // 1), 3)


@pytest.mark.parametrize(("scale", "decoded"), [(0.1, 0.125), (0.5, 0.5), (0.51, 0.625), (0.75, 0.75), (0.76, 1.0)])
def test_seven_eighths_are_passed_over(scale: float, decoded: float) -> None:
    encoded = simplejpeg.encode_jpeg(np.zeros((480, 640, 3), np.uint8), 90, "RGB", "420")
    assert decode_at_least(encoded, scale).scale_x == decoded
