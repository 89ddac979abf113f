"""Medians of many groups at once, by one sort."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def grouped_medians(values: Array, groups: NDArray[np.intp], count: int) -> Array:
    """Median of the values of each group.

    Args:
        values: (N,) finite values.
        groups: (N,) number of each value's group.
        count: number of groups, G; they are numbered from 0.

    Returns:
        (G,) medians; NaN for a group without values.
    """
    if not len(values):
        return np.full(count, np.nan)
    ranked = values[np.lexsort((values, groups))]
    size = np.bincount(groups, minlength=count)
    start = np.cumsum(size) - size
    low, high = (ranked[np.minimum(start + middle, len(ranked) - 1)] for middle in ((size - 1) // 2, size // 2))
    return np.where(size > 0, (low + high) / 2, np.nan)


def medians_of_others(values: Array, groups: NDArray[np.intp], count: int) -> Array:
    """For each group, the median of the values of all other groups.

    Args:
        values: (N,) finite values.
        groups: (N,) number of each value's group.
        count: number of groups, G; they are numbered from 0.

    Returns:
        (G,) medians; NaN where no other group has a value.
    """
    if not len(values):
        return np.full(count, np.nan)
    order = np.argsort(values, kind="stable")
    ranked, owner = values[order], groups[order]
    own = np.bincount(groups, minlength=count)
    others = len(values) - own
    # Values ordered by group, each with the number of values of other groups that rank before it.
    rank = np.argsort(owner, kind="stable")
    mine, start = owner[rank], np.cumsum(own) - own
    before = rank - (np.arange(len(rank)) - start[mine])

    def nth(n: NDArray[np.intp]) -> Array:
        """(G,) value number n, from 0, among the other groups' ranked values: the own ones before it are skipped."""
        passed = np.bincount(mine[before <= n[mine]], minlength=count)
        found: Array = ranked[np.clip(n + passed, 0, len(ranked) - 1)]
        return found

    return np.where(others > 0, (nth((others - 1) // 2) + nth(others // 2)) / 2, np.nan)
