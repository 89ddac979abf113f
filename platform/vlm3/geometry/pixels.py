"""Pixel arithmetic. Centres lie at whole numbers, so what is resized by a factor moves by half a pixel as well."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Region = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of an image."""
PixelT = TypeVar("PixelT", float, NDArray[np.float64])


def scaled_px(at_px: PixelT, scale: float | NDArray[np.float64]) -> PixelT:
    """Where a coordinate is once the image is `scale` times as large: (c + 0.5) · s − 0.5."""
    return (at_px + 0.5) * scale - 0.5  # type: ignore[return-value] # an array stays one, a float times a float too
