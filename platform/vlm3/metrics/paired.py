"""Is one model better than another? Both answer the same questions, so they are compared question by question."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vlm3.metrics.intervals import RESAMPLES, Interval, percentile_interval, ratio_of_sums, resampled


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How much more of something B has than A."""

    difference: float
    """Mean of b - a over the answers."""
    interval: Interval
    """95 % bootstrap interval over groups."""
    p_value: float
    """Two-sided: how often a difference of the other sign would be drawn."""


def paired_bootstrap(
    values_a: ArrayLike, values_b: ArrayLike, groups: ArrayLike, seed: int, resamples: int = RESAMPLES
) -> PairedDifference:
    """Mean difference of two models on the same questions, whole groups drawn jointly for both.

    The p-value is twice the smaller share of resamples on either side of 0, with one more counted on each side, so
    never 0 (Davison & Hinkley 1997, sections 4.2 and 4.4). Nor is it below 2 / 2^G, the least that G groups can show
    when each may as well point the other way: one image, however many points it has, proves nothing.

    Args:
        values_a: (N,) per-answer values of model A: right or wrong, an error, a share of an AUC.
        values_b: (N,) those of model B on the same questions in the same order.
        groups: (N,) image (or scene) of each question.
        seed: of the draws.
        resamples: how many.

    Raises:
        ValueError: shapes differ, no answers, or a value that is not finite.
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
