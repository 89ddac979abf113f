"""Depth scores: δ, AbsRel, RMSE, SILog, with unreadable answers counted as wrong."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm3.metrics.intervals import Interval, mean_interval, mean_known
from vlm3.metrics.medians import grouped_medians
from vlm3.metrics.relative import relative_error

DELTA = 1.25
"""δ_k is the share of answers within a factor of 1.25^k (Eigen et al., NeurIPS 2014)."""


@dataclass(frozen=True, slots=True)
class DepthScores:
    """Scores of many answers."""

    count: int
    delta1: float
    delta2: float
    delta3: float
    abs_rel: float
    """Mean |p - g| / g over the readable answers; NaN without one."""
    rmse_m: float
    """Root mean square error over the readable answers; NaN without one."""
    silog: float
    """100 · √(mean(d²) - mean(d)²), d = log p - log g, over the positive answers (Eigen et al.); NaN without one."""
    unreadable_share: float
    """Share of answers that do not parse; they are wrong in every δ."""
    delta1_interval: Interval
    """95 % bootstrap interval over groups, as is the next."""
    abs_rel_interval: Interval


def within(predicted_m: ArrayLike, true_m: ArrayLike, factor: float = DELTA) -> NDArray[np.bool_]:
    """Whether each answer (N,) lies within a factor of the truth, max(p / g, g / p) < factor; NaN and p ≤ 0 do not."""
    right: NDArray[np.bool_] = _ratio(np.asarray(predicted_m, np.float64), np.asarray(true_m, np.float64)) < factor
    return right


def align_scale(predicted_m: ArrayLike, true_m: ArrayLike, groups: ArrayLike) -> NDArray[np.float64]:
    """Predictions with the scale of each image corrected, to judge shape alone; never a metric score.

    Args:
        predicted_m: (N,) metres; NaN where unreadable.
        true_m: (N,) metres, > 0.
        groups: (N,) image of each answer.

    Returns:
        (N,) metres: the answers of each image times the median of g / p over its positive ones; an image without one
        is unchanged. (Zhou et al., CVPR 2017, section 4.1, take the ratio of the medians instead.)
    """
    aligned, true = np.array(predicted_m, np.float64), np.asarray(true_m, np.float64)
    labels = np.asarray(groups)
    positive = aligned > 0
    _, image = np.unique(labels, return_inverse=True)
    scale = grouped_medians(true[positive] / aligned[positive], image[positive], int(image.max(initial=-1)) + 1)
    # The scale of an image without a positive answer is NaN.
    return aligned * np.where(np.isnan(scale), 1.0, scale)[image]


def depth_scores(predicted_m: ArrayLike, true_m: ArrayLike, groups: ArrayLike, seed: int) -> DepthScores:
    """Score answers.

    Args:
        predicted_m: (N,) metres; NaN where unreadable; ≤ 0 is readable and wrong.
        true_m: (N,) metres, > 0.
        groups: (N,) image (or scene) of each answer.
        seed: seed of the bootstrap.

    Raises:
        ValueError: shapes differ, no answers, or a label that is not a positive number.
    """
    predicted, true = np.asarray(predicted_m, np.float64), np.asarray(true_m, np.float64)
    group = np.asarray(groups)
    if predicted.shape != true.shape or true.shape != group.shape or true.ndim != 1 or len(true) == 0:
        raise ValueError(f"expected equal (N,) arrays with N ≥ 1, found {predicted.shape}, {true.shape}, {group.shape}")
    if not (np.isfinite(true) & (true > 0)).all():
        raise ValueError("labels must be positive and finite: drop invalid ones before scoring")
    right = [within(predicted, true, DELTA**k) for k in (1, 2, 3)]
    relative = relative_error(predicted, true)
    readable = ~np.isnan(predicted)
    p, g = predicted[readable], true[readable]
    return DepthScores(
        count=len(true),
        delta1=float(right[0].mean()),
        delta2=float(right[1].mean()),
        delta3=float(right[2].mean()),
        abs_rel=mean_known(relative),
        rmse_m=float(np.sqrt(np.mean((p - g) ** 2))) if len(p) else float("nan"),
        silog=_silog(p, g),
        unreadable_share=float(1 - readable.mean()),
        delta1_interval=mean_interval(right[0], group, seed),
        abs_rel_interval=mean_interval(relative, group, seed),
    )


def best_constant(true_m: ArrayLike) -> float:
    """The constant c that maximises δ1 over these labels exactly: the hardest constant answer to beat.

    c is right for g when g/1.25 < c < 1.25·g: a sweep over the ends of these open intervals finds where most overlap.

    Raises:
        ValueError: no labels, or one that is not a positive number.
    """
    true = np.sort(np.asarray(true_m, np.float64))
    if len(true) == 0 or not (np.isfinite(true) & (true > 0)).all():
        raise ValueError("expected at least one positive finite label")
    # Just above the lower end of an interval, every interval that began at or before it and has not ended covers c.
    starts = true / DELTA
    ends = true * DELTA
    covering = np.arange(1, len(true) + 1) - np.searchsorted(ends, starts, side="right")
    # Among equal starts, only the last one counts all of them.
    best = int(np.flatnonzero(covering == covering.max())[-1])
    later = starts[starts > starts[best]]
    alive = ends[(starts <= starts[best]) & (ends > starts[best])]
    upper = min(alive.min(), later.min() if len(later) else np.inf)
    return float((starts[best] + upper) / 2)


def _ratio(predicted: NDArray[np.float64], true: NDArray[np.float64]) -> NDArray[np.float64]:
    """max(p/g, g/p); infinite where p is NaN or not positive."""
    positive = predicted > 0
    safe = np.where(positive, predicted, 1.0)
    with np.errstate(over="ignore"):  # an absurdly small answer is infinitely wrong
        return np.where(positive, np.maximum(safe / true, true / safe), np.inf)


def _silog(p: NDArray[np.float64], g: NDArray[np.float64]) -> float:
    positive = p > 0
    if not positive.any():
        return float("nan")
    d = np.log(p[positive]) - np.log(g[positive])
    # Not by mean(d²) − mean(d)², whose digits would cancel where d is large.
    return float(100 * np.std(d))
