"""Errors of lengths in shares of the truth, for every task that asks about metres."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

TOLERANCE = 0.25
"""A length is right within ±25 % of the truth, bounds included (SpatialRGPT, NeurIPS 2024, section 5)."""
ROUNDING = 1e-9
"""So that 1.5 is right where 1.2 is true: in floating point their difference is more than a quarter of 1.2."""


def relative_error(predicted_m: ArrayLike, true_m: ArrayLike) -> NDArray[np.float64]:
    """|p - g| / g of each answer (N,); NaN where the answer is NaN or the truth is 0. AbsRel is its mean."""
    predicted, true = np.asarray(predicted_m, np.float64), np.asarray(true_m, np.float64)
    known = true > 0
    return np.where(known, np.abs(predicted - true) / np.where(known, true, 1.0), np.nan)


def length_right(predicted_m: ArrayLike, true_m: ArrayLike) -> NDArray[np.bool_]:
    """Which answers (N,) lie within ±25 % of the truth; an unreadable one (NaN) does not."""
    predicted, true = np.asarray(predicted_m, np.float64), np.asarray(true_m, np.float64)
    right: NDArray[np.bool_] = np.abs(predicted - true) <= (TOLERANCE + ROUNDING) * true
    return right
