"""Confidence intervals by bootstrap over images: points of one image are not independent."""

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = 0.95


def bootstrap_interval(
    sums: NDArray[np.number], counts: NDArray[np.integer], seed: int, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % percentile interval of Σ sums / Σ counts when whole groups are drawn with replacement.

    Args:
        sums: (G,) sum of the per-answer values of each group (image or scene).
        counts: (G,) answers of each group.
        seed: of the draws.
        resamples: how many.

    Returns:
        (low, high); NaN without groups. (Efron 1979, percentile method.)
    """
    groups = len(sums)
    if groups == 0:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples)
    totals = draws @ np.asarray(counts, np.float64)
    means = (draws @ np.asarray(sums, np.float64))[totals > 0] / totals[totals > 0]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
