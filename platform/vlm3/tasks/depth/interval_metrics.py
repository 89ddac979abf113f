"""Whether intervals about depth keep their promise, and how wide they must be for it."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vlm3.asking.tables import Figure
from vlm3.metrics.intervals import mean_interval

LEVELS = (0.5, 0.8, 0.9)
"""Probabilities with which the truth should lie inside an answer's intervals."""


def interval_figures(
    answered_m: NDArray[np.float64],
    true_m: NDArray[np.float64],
    interval_m: NDArray[np.float64],
    groups: NDArray[np.str_],
    seed: int,
) -> Iterator[Figure]:
    """For each level the share of the truths inside, and the mean width beside that of the best constant one.

    The best constant width is the least that, put around every answer, holds as many truths as these intervals do: a
    model whose intervals are no narrower does not know where it is sure.

    Args:
        answered_m: (N,) the answers, NaN without a value.
        true_m: (N,).
        interval_m: (N, levels, 2) ends at LEVELS; NaN without an interval.
        groups: (N,) image or scene of each answer.
        seed: seed of the bootstrap.

    Yields:
        Nothing where no answer has an interval.
    """
    given = ~np.isnan(interval_m[:, 0, 0])
    if not given.any():
        return
    yield "interval_share", float(given.mean())
    both = given & ~np.isnan(answered_m)
    for place, level in enumerate(LEVELS):
        low, high = interval_m[given, place].T
        inside = ((low <= true_m[given]) & (true_m[given] <= high)).astype(np.float64)
        name = f"interval_{100 * level:.0f}"
        yield f"{name}_coverage", float(inside.mean()), mean_interval(inside, groups[given], seed)
        yield f"{name}_width_m", float((high - low).mean())
        if both.any():
            errors = np.abs(answered_m[both] - true_m[both])
            yield f"{name}_constant_width_m", 2 * float(np.quantile(errors, inside.mean(), method="higher"))
