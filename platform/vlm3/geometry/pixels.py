"""Pixel arithmetic. Pixel centres lie at whole numbers, so resizing shifts coordinates by half a pixel as well."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Region = tuple[float, float, float, float]
"""A rectangle x0, y0, x1, y1 in pixels of an image."""
PixelT = TypeVar("PixelT", float, NDArray[np.float64])


def scaled_px(at_px: PixelT, scale: float | NDArray[np.float64]) -> PixelT:
    """Coordinate c after the image is resized by the factor s = `scale`: (c + 0.5) · s − 0.5."""
    return (at_px + 0.5) * scale - 0.5  # type: ignore[return-value] # an array stays an array, a float stays a float
