"""Relative errors of lengths, for every task that asks about metres."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

TOLERANCE = 0.25
"""A length is right within ±25 % of the truth, bounds included (SpatialRGPT, NeurIPS 2024, section 5)."""
ROUNDING = 1e-9
"""Slack so that 1.5 is right if 1.2 is true: in floating point, their difference is more than a quarter of 1.2."""


def relative_error(predicted_m: ArrayLike, true_m: ArrayLike) -> NDArray[np.float64]:
    """(N,) relative errors |p - g| / g; NaN where the answer is NaN or the truth is 0. AbsRel is their mean."""
    predicted, true = np.asarray(predicted_m, np.float64), np.asarray(true_m, np.float64)
    known = true > 0
    return np.where(known, np.abs(predicted - true) / np.where(known, true, 1.0), np.nan)


def length_right(predicted_m: ArrayLike, true_m: ArrayLike) -> NDArray[np.bool_]:
    """(N,) True for answers within ±25 % of the truth; False for an unreadable answer (NaN)."""
    predicted, true = np.asarray(predicted_m, np.float64), np.asarray(true_m, np.float64)
    right: NDArray[np.bool_] = np.abs(predicted - true) <= (TOLERANCE + ROUNDING) * true
    return right
