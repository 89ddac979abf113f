"""Whether one model is better than another: both answer the same questions and are compared question by question."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vlm3.metrics.intervals import RESAMPLES, Interval, percentile_interval, ratio_of_sums, resampled


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Difference of a measure between models A and B."""

    difference: float
    """Mean of b - a over the answers."""
    interval: Interval
    """95 % bootstrap interval over groups."""
    p_value: float
    """Two-sided p-value from the share of resamples in which the difference has the other sign."""


def paired_bootstrap(
    values_a: ArrayLike, values_b: ArrayLike, groups: ArrayLike, seed: int, resamples: int = RESAMPLES
) -> PairedDifference:
    """Mean difference of two models on the same questions; whole groups are drawn, the same ones for both.

    The p-value is twice the smaller share of resamples on either side of 0, with one more counted on each side, so
    never 0 (Davison & Hinkley 1997, sections 4.2 and 4.4). It is also at least 2 / 2^G, the least p-value of a test
    that flips the signs of G groups: one image, however many points it has, proves nothing.

    Args:
        values_a: (N,) per-answer values of model A: right or wrong, an error, a share of an AUC.
        values_b: (N,) values of model B on the same questions in the same order.
        groups: (N,) image (or scene) of each question.
        seed: seed of the draws.
        resamples: number of resamples.

    Raises:
        ValueError: shapes differ, there are no answers, or a value is not finite.
    """
    a, b = np.asarray(values_a, np.float64), np.asarray(values_b, np.float64)
    labels = np.asarray(groups)
    if a.shape != b.shape or a.shape != labels.shape or a.ndim != 1 or len(a) == 0:
        raise ValueError(f"expected equal (N,) arrays with N ≥ 1, found {a.shape}, {b.shape}, {labels.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("values must be finite: give an unreadable answer its worst value, or leave its question out")
    _, group, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.bincount(group, weights=b - a)
    drawn = resampled(lambda draws: ratio_of_sums(draws, sums, counts), len(counts), seed, resamples)
    sides = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    return PairedDifference(
        difference=float(np.mean(b - a)),
        interval=percentile_interval(drawn),
        p_value=float(min(1.0, max(2 * (sides + 1) / (resamples + 1), 2.0 ** (1 - len(counts))))),
    )
