"""Pinhole cameras with Brown or fisheye distortion. OpenCV axes; pixel centres at integer coordinates."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Distortion(StrEnum):
    """How a lens bends rays."""

    NONE = "none"
    BROWN = "brown"
    """OpenCV's k1, k2, p1, p2[, k3[, k4, k5, k6]] (Brown 1966)."""
    FISHEYE = "fisheye"
    """OpenCV's fisheye k1..k4: θ_d = θ(1 + k1θ² + k2θ⁴ + k3θ⁶ + k4θ⁸) (Kannala and Brandt 2006)."""


@dataclass(frozen=True, slots=True)
class Camera:
    """Intrinsics of one image.

    A pixel (u, v) has its centre at integer coordinates; the image covers [−0.5, width−0.5) × [−0.5, height−0.5).
    """

    width_px: int
    height_px: int
    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    distortion: Distortion = Distortion.NONE
    coefficients: tuple[float, ...] = ()

    def unproject(self, points_px: NDArray[np.floating]) -> NDArray[np.float64]:
        """Rays with z = 1 through pixels: (N, 2) → (N, 3); NaN where no ray in front of the camera maps there."""
        raise NotImplementedError

    def project(self, points_cam_m: NDArray[np.floating]) -> NDArray[np.float64]:
        """Pixels of points in the camera frame: (N, 3) → (N, 2); NaN behind the camera or outside the lens model."""
        raise NotImplementedError
