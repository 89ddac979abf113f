"""Confidence intervals by bootstrap over groups (images or scenes): answers on one image are not independent."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2000
LEVEL = 0.95
MOST_DRAWN = 1 << 20
"""Maximum number of counts of draws in memory at once: 8 MB."""

Interval = tuple[float, float]
"""(low, high) ends of an interval."""


def bootstrap_interval(
    sums: NDArray[np.number], counts: NDArray[np.number], seed: int, resamples: int = RESAMPLES
) -> Interval:
    """95 % percentile interval of Σ sums / Σ counts when whole groups are drawn with replacement.

    Args:
        sums: (G,) sum of the per-answer values of each group (image or scene).
        counts: (G,) number of answers of each group.
        seed: seed of the draws.
        resamples: number of resamples.

    Returns:
        (low, high); NaN without groups or answers. (Efron 1979, percentile method.)
    """
    return bootstrap_of(lambda draws: ratio_of_sums(draws, sums, counts), len(sums), seed, resamples)


def mean_known(values: ArrayLike) -> float:
    """Mean of the values (N,) that are not NaN; NaN if there are none."""
    value = np.asarray(values, np.float64)
    known = value[~np.isnan(value)]
    return float(known.mean()) if len(known) else float("nan")


def mean_interval(values: ArrayLike, groups: ArrayLike, seed: int, resamples: int = RESAMPLES) -> Interval:
    """95 % percentile interval of the mean of values when whole groups are drawn with replacement.

    Args:
        values: (N,) per-answer values; NaN is left out of the mean.
        groups: (N,) image (or scene) of each answer.
        seed: seed of the draws.
        resamples: number of resamples.

    Returns:
        (low, high); NaN without values.
    """
    value = np.asarray(values, np.float64)
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    kept = ~np.isnan(value)
    sums, counts = np.bincount(group, weights=np.where(kept, value, 0.0)), np.bincount(group, weights=kept)
    return bootstrap_interval(sums, counts, seed, resamples)


def bootstrap_of(
    statistic: Callable[[NDArray[np.int64]], NDArray[np.float64]], groups: int, seed: int, resamples: int = RESAMPLES
) -> Interval:
    """95 % percentile interval of any statistic when whole groups are drawn with replacement.

    Args:
        statistic: receives (r, G), how often each group was drawn in each of r resamples, and returns (r,) values; NaN
            where a resample has none.
        groups: number of groups, G.
        seed: seed of the draws; the same seed draws the same groups for every statistic.
        resamples: number of resamples, R.

    Returns:
        (low, high); NaN without groups or values.
    """
    return percentile_interval(resampled(statistic, groups, seed, resamples) if groups else np.empty(0))


def resampled(
    statistic: Callable[[NDArray[np.int64]], NDArray[np.float64]], groups: int, seed: int, resamples: int = RESAMPLES
) -> NDArray[np.float64]:
    """(R,) values of a statistic (see `bootstrap_of`) on R resamples of G ≥ 1 groups."""
    return np.concatenate([statistic(draws) for draws in draw_groups(groups, seed, resamples)])


def draw_groups(groups: int, seed: int, resamples: int = RESAMPLES) -> Iterator[NDArray[np.int64]]:
    """Draw G groups with replacement from G ≥ 1 groups, R times, and count how often each group was drawn.

    Yields:
        (r, G) counts of the next r resamples. Small r bounds the memory, and does not change what is drawn.
    """
    rng = np.random.default_rng(seed)
    at_once = max(1, MOST_DRAWN // groups)
    for start in range(0, resamples, at_once):
        draws: NDArray[np.int64] = rng.multinomial(
            groups, np.full(groups, 1 / groups), size=min(at_once, resamples - start)
        )
        yield draws


def percentile_interval(values: NDArray[np.float64]) -> Interval:
    """Interval of the middle 95 % of resampled values (R,), without NaN; (NaN, NaN) if no value is left."""
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def ratio_of_sums(
    draws: NDArray[np.int64], sums: NDArray[np.number], counts: NDArray[np.number]
) -> NDArray[np.float64]:
    """Σ sums / Σ counts of each resample.

    Args:
        draws: (R, G) times each group was drawn.
        sums: (G,) or (G, K) sums of each group.
        counts: (G,) or (G, K) number of answers of each group.

    Returns:
        (R,) or (R, K); NaN where a resample has no answers.
    """
    totals = draws @ np.asarray(counts, np.float64)
    known = totals > 0
    ratios: NDArray[np.float64] = (draws @ np.asarray(sums, np.float64)) / np.where(known, totals, 1.0)
    return np.where(known, ratios, np.nan)
