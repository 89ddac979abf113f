"""Cameras with no, Brown or fisheye distortion. OpenCV axes; pixel centres at integer coordinates."""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vlm3.geometry.pixels import scaled_px

Array = NDArray[np.float64]
MAX_ANGLE_RAD = np.deg2rad(89.0)
"""Rays farther from the axis have no useful pinhole image: the tangent exceeds 57."""
TABLES_KEPT = 64
"""Number of radius tables, one per lens, that a process keeps: 128 kB each, 0.3 ms to compute again."""


class Distortion(StrEnum):
    """Lens model: how a lens bends rays."""

    NONE = "none"
    BROWN = "brown"
    """OpenCV's k1, k2, p1, p2[, k3[, k4, k5, k6]] (Brown 1966)."""
    FISHEYE = "fisheye"
    """OpenCV's fisheye k1..k4: θ_d = θ(1 + k1θ² + k2θ⁴ + k3θ⁶ + k4θ⁸) (Kannala and Brandt 2006)."""


COEFFICIENTS = {Distortion.NONE: (0,), Distortion.BROWN: (4, 5, 8), Distortion.FISHEYE: (4,)}
"""Allowed numbers of coefficients for each lens model."""


def lens_fault(distortion: Distortion, coefficients: tuple[float, ...]) -> str | None:
    """What is wrong with the number of coefficients of a lens; None if it is right."""
    counts = COEFFICIENTS[distortion]
    if len(coefficients) in counts:
        return None
    return f"distortion {distortion.value!r} takes {' or '.join(map(str, counts))} coefficients"


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

    @property
    def K(self) -> Array:
        """(3, 3) intrinsic matrix."""
        return np.array([[self.fx_px, 0, self.cx_px], [0, self.fy_px, self.cy_px], [0, 0, 1]], np.float64)

    @property
    def is_pinhole(self) -> bool:
        """Whether rays stay straight: no lens, or, as in many files, a Brown lens whose coefficients are all 0."""
        unbent = self.distortion is Distortion.BROWN and not any(self.coefficients)
        return self.distortion is Distortion.NONE or unbent

    @property
    def largest_radius(self) -> float:
        """Tangent of the largest angle from the axis at which the lens shows rays."""
        return _largest_radius(self.distortion, self.coefficients)

    def fault(self) -> str | None:
        """What makes this camera impossible for any image; None if nothing does."""
        values = (self.fx_px, self.fy_px, self.cx_px, self.cy_px, *self.coefficients)
        if not all(math.isfinite(value) for value in values):
            return f"intrinsics hold NaN or infinity: {values}"
        if self.width_px < 1 or self.height_px < 1:
            return f"camera says the image is {self.width_px}x{self.height_px} px"
        if self.fx_px <= 0 or self.fy_px <= 0:
            return f"focal lengths must be positive, found fx {self.fx_px:g}, fy {self.fy_px:g} px"
        if not (-0.5 <= self.cx_px < self.width_px - 0.5 and -0.5 <= self.cy_px < self.height_px - 0.5):
            return (
                f"principal point ({self.cx_px:g}, {self.cy_px:g}) lies outside the image of"
                f" {self.width_px}x{self.height_px} px: do K and the image have the same size?"
            )
        return None

    def contains(self, points_px: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(N,) True for pixels (N, 2) inside the image; False for NaN."""
        u, v = points_px[:, 0], points_px[:, 1]
        inside: NDArray[np.bool_] = (u >= -0.5) & (u < self.width_px - 0.5) & (v >= -0.5) & (v < self.height_px - 0.5)
        return inside

    def scaled(self, sx: float, sy: float, width_px: int, height_px: int) -> "Camera":
        """Camera of the image when it is resized by sx and sy to this size; the lens is the same."""
        return replace(
            self,
            width_px=width_px,
            height_px=height_px,
            fx_px=self.fx_px * sx,
            fy_px=self.fy_px * sy,
            cx_px=scaled_px(self.cx_px, sx),
            cy_px=scaled_px(self.cy_px, sy),
        )

    def unproject(self, points_px: NDArray[np.floating]) -> Array:
        """Rays with z = 1 through pixels: (N, 2) → (N, 3); NaN where no ray in front of the camera maps there."""
        points = np.asarray(points_px, np.float64)
        bent = (points - (self.cx_px, self.cy_px)) / (self.fx_px, self.fy_px)
        straight = _undistort(bent, self.distortion, self.coefficients)
        return np.concatenate([straight, np.where(np.isfinite(straight[..., :1]), 1.0, np.nan)], axis=-1)

    def project(self, points_cam_m: NDArray[np.floating]) -> Array:
        """Pixels of points in the camera frame: (N, 3) → (N, 2); NaN behind the camera or outside the lens model."""
        points = np.asarray(points_cam_m, np.float64)
        z = np.where(points[..., 2] > 0, points[..., 2], np.nan)
        # Column by column: NumPy is slow over a last axis of two.
        bent = _distort(np.stack([points[..., 0] / z, points[..., 1] / z], -1), self.distortion, self.coefficients)
        return np.stack([bent[..., 0] * self.fx_px + self.cx_px, bent[..., 1] * self.fy_px + self.cy_px], -1)


def _distort(straight: Array, model: Distortion, coefficients: tuple[float, ...]) -> Array:
    """Where the lens images the rays (x, y, 1), in focal lengths from the principal point; NaN beyond its model."""
    if model is Distortion.NONE:
        return straight
    r = np.linalg.norm(straight, axis=-1, keepdims=True)
    inside = r <= _largest_radius(model, coefficients)
    if model is Distortion.FISHEYE:
        theta = np.arctan(r)
        return np.where(inside, straight * _ratio(_theta_d(theta, coefficients), r), np.nan)
    return np.where(inside, _brown(straight, coefficients), np.nan)


def _undistort(bent: Array, model: Distortion, coefficients: tuple[float, ...]) -> Array:
    """Inverse of `_distort`, NaN where there is none: a table gives a first radius, Newton's method the exact point."""
    if model is Distortion.NONE:
        return bent
    radii, bent_radii = _radius_table(model, coefficients)
    r_d = np.linalg.norm(bent, axis=-1, keepdims=True)
    straight = bent * _ratio(np.interp(r_d, bent_radii, radii), r_d)
    # Each point stops on its own, so that its result does not depend on the other points of the call.
    far = np.ones(bent.shape[:-1], np.bool_)
    with np.errstate(over="ignore", invalid="ignore"):  # a point without an inverse may diverge
        for _ in range(6):
            residual = _bend(straight[far], model, coefficients) - bent[far]
            moving = np.abs(residual).max(axis=-1) >= 1e-13
            if not moving.any():
                break
            far[far] = moving
            straight[far] -= _solve(straight[far], residual[moving], model, coefficients)
        found = np.abs(_distort(straight, model, coefficients) - bent).max(axis=-1, keepdims=True) < 1e-9
    return np.where(found, straight, np.nan)


def _solve(straight: Array, residual: Array, model: Distortion, coefficients: tuple[float, ...]) -> Array:
    """Newton step J⁻¹ · residual, with J by central differences (the functions are smooth)."""
    h = 1e-6
    dx = (
        _bend(straight + np.array([h, 0]), model, coefficients)
        - _bend(straight - np.array([h, 0]), model, coefficients)
    ) / (2 * h)
    dy = (
        _bend(straight + np.array([0, h]), model, coefficients)
        - _bend(straight - np.array([0, h]), model, coefficients)
    ) / (2 * h)
    a, c, b, d = dx[..., 0], dx[..., 1], dy[..., 0], dy[..., 1]
    determinant = a * d - b * c
    with np.errstate(divide="ignore", invalid="ignore"):
        step: Array = (
            np.stack([d * residual[..., 0] - b * residual[..., 1], a * residual[..., 1] - c * residual[..., 0]], -1)
            / determinant[..., None]
        )
    return step


def _bend(straight: Array, model: Distortion, coefficients: tuple[float, ...]) -> Array:
    """`_distort` without its limit on the radius, which Newton's method may briefly exceed."""
    if model is Distortion.BROWN:
        return _brown(straight, coefficients)
    r = np.linalg.norm(straight, axis=-1, keepdims=True)
    return straight * _ratio(_theta_d(np.arctan(r), coefficients), r)


def _brown(straight: Array, coefficients: tuple[float, ...]) -> Array:
    k1, k2, p1, p2, k3, k4, k5, k6 = (*coefficients, *(0.0,) * (8 - len(coefficients)))
    x, y = straight[..., 0], straight[..., 1]
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    return np.stack(
        [x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], -1
    )


def _theta_d(theta: Array, coefficients: tuple[float, ...]) -> Array:
    k1, k2, k3, k4 = (*coefficients, *(0.0,) * (4 - len(coefficients)))
    t2 = theta * theta
    bent: Array = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
    return bent


def _ratio(numerator: Array, denominator: Array) -> Array:
    """numerator / denominator; 1 at the centre, where both go to zero and their ratio to 1."""
    return np.divide(numerator, denominator, out=np.ones_like(numerator), where=denominator > 1e-12)


@lru_cache(maxsize=TABLES_KEPT)
def _radius_table(model: Distortion, coefficients: tuple[float, ...]) -> tuple[Array, Array]:
    """Radii (as tangents) and their distorted radii, up to the point where the latter stop growing."""
    theta = np.linspace(0, MAX_ANGLE_RAD, 8192)
    r = np.tan(theta)
    if model is Distortion.FISHEYE:
        bent = _theta_d(theta, coefficients)
    else:
        radial_only = (*coefficients[:2], 0.0, 0.0, *coefficients[4:])
        bent = _brown(np.stack([r, np.zeros_like(r)], -1), radial_only)[:, 0]
    growing = np.concatenate([[True], np.diff(bent) > 0])
    end = len(r) if growing.all() else int(np.argmin(growing))
    return r[:end], bent[:end]


def _largest_radius(model: Distortion, coefficients: tuple[float, ...]) -> float:
    return float(_radius_table(model, coefficients)[0][-1])
