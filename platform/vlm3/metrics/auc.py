"""Area under the curve of recall over error (AUC), in the two conventions that published tables mix.

On the same errors they differ by up to 13 points, so each figure is named after its convention.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm3.metrics.intervals import Interval, bootstrap_of

Array = NDArray[np.float64]


def histogram_auc(errors: ArrayLike, threshold: int) -> float:
    """Mean, over bins of width 1 up to the threshold, of the share of errors in that bin or below it.

    The convention of VGGT, Depth Anything 3 and MapAnything. As in NumPy's histogram, the last bin includes the
    threshold itself. A perfect answer and one that is wrong by 0.9 count the same.

    Args:
        errors: (N,) ≥ 0, N ≥ 1.
        threshold: a whole number ≥ 1, in the unit of the errors.
    """
    return float(histogram_shares(errors, threshold).mean())


def histogram_shares(errors: ArrayLike, threshold: int) -> Array:
    """(N,) contribution of each error to `histogram_auc`, which is their mean."""
    error = np.asarray(errors, np.float64)
    # An error in bin b counts in bins b … threshold - 1 of the cumulated histogram.
    bins = np.minimum(np.floor(error), threshold - 1)
    return np.where(error <= threshold, (threshold - bins) / threshold, 0.0)


def trapezoid_auc(errors: ArrayLike, threshold: float) -> float:
    """Area under the recall curve from 0 to the threshold, divided by the threshold.

    The convention of SuperGlue (Sarlin et al., CVPR 2020), glue-factory and kornia: straight lines join (0, 0) and the
    points (i-th smallest error, i / N) below the threshold, then the curve runs level.

    Args:
        errors: (N,) ≥ 0, N ≥ 1.
        threshold: > 0, in the unit of the errors.
    """
    shares, last = _trapezoid_parts(errors, threshold)
    return float((shares.sum() + last.max() / 2) / len(shares))


def trapezoid_interval(errors: ArrayLike, threshold: float, groups: ArrayLike, seed: int) -> Interval:
    """95 % bootstrap interval of `trapezoid_auc` when whole groups (N,) are drawn with replacement."""
    _, group, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    shares, last = _trapezoid_parts(errors, threshold)
    sums, last_of_group = np.bincount(group, weights=shares), np.zeros(len(counts))
    np.maximum.at(last_of_group, group, last)

    def auc(draws: NDArray[np.int64]) -> Array:
        last_drawn = np.where(draws > 0, last_of_group, 0.0).max(axis=1)
        drawn: Array = (draws @ sums + last_drawn / 2) / (draws @ counts)
        return drawn

    return bootstrap_of(auc, len(counts), seed)


def _trapezoid_parts(errors: ArrayLike, threshold: float) -> tuple[Array, Array]:
    """(N,) area of each error's own step, and (N,) its position; in units of the threshold, 0 from the threshold on.

    Lines that join the steps raise the curve by half a step, 1 / 2N, on average, up to the last error below the
    threshold. So the whole area is (Σ area + max position / 2) / N, without sorting.
    """
    error = np.asarray(errors, np.float64) / threshold
    below = error < 1
    return np.where(below, 1 - error, 0.0), np.where(below, error, 0.0)
