"""Correspondence scores: end-point error and PCK of points that image 2 sees, and "not visible" as an answer."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm3.metrics.intervals import Interval, mean_interval, mean_known

PCK_THRESHOLDS = (1, 2, 5, 10, 20)
"""Thresholds of the fields of `Pck`, in order."""
NORMALISED_SIDE = 1000.0
"""Width and height of every image in normalised errors: VLM3's range of names (arXiv 2605.30561)."""


class Pck(NamedTuple):
    """Share of answers whose error is at most k: percentage of correct key points, as a share."""

    at_1: float
    at_2: float
    at_5: float
    at_10: float
    at_20: float


@dataclass(frozen=True, slots=True)
class CorrespondenceScores:
    """Scores of answers about points that image 2 sees."""

    count: int
    epe_mean_px: float
    """End-point error in pixels of image 2; an answer without a place counts as the diagonal of image 2."""
    epe_median_px: float
    pck_px: Pck
    """PCK at 1 … 20 pixels of image 2; an answer without a place is wrong in all of them."""
    pck_normalised: Pck
    """PCK at 1 … 20 thousandths of image 2's width and height: comparable between images of different sizes."""
    unreadable_share: float
    """Share of answers that do not parse; "not visible" does parse."""
    epe_mean_interval: Interval
    """95 % bootstrap interval over groups, as is the next."""
    pck_px_at_10_interval: Interval


@dataclass(frozen=True, slots=True)
class VisibilityScores:
    """Scores of "not visible" where points that image 2 does not see are asked about too."""

    hidden_count: int
    """Points that image 2 does not see."""
    visible_count: int
    hidden_found_share: float
    """Share of the hidden points that are answered "not visible"; NaN without hidden points."""
    visible_denied_share: float
    """Share of the visible points that are answered "not visible"; NaN without visible points."""
    unreadable_share: float
    """Share of all answers that do not parse."""
    hidden_found_interval: Interval
    """95 % bootstrap interval over groups, as is the next."""
    visible_denied_interval: Interval


def end_point_error(predicted_px: ArrayLike, true_px: ArrayLike, size_px: ArrayLike) -> NDArray[np.float64]:
    """Distance in pixels from each answer to the truth (N,); image 2's diagonal for an answer without a place.

    Args:
        predicted_px: (N, 2) x, y in the original image 2; NaN where the answer states no place.
        true_px: (N, 2).
        size_px: (N, 2) width and height of the original image 2.
    """
    predicted, size = np.asarray(predicted_px, np.float64), np.asarray(size_px, np.float64)
    offset = predicted - np.asarray(true_px, np.float64)
    x, y = np.where(_placed(predicted)[:, None], offset, size).T
    distance: NDArray[np.float64] = np.hypot(x, y)
    return distance


def normalised_error(predicted_px: ArrayLike, true_px: ArrayLike, size_px: ArrayLike) -> NDArray[np.float64]:
    """`end_point_error` where width and height of image 2 both measure 1000."""
    scale = NORMALISED_SIDE / np.asarray(size_px, np.float64)
    predicted, true = np.asarray(predicted_px, np.float64) * scale, np.asarray(true_px, np.float64) * scale
    return end_point_error(predicted, true, np.full_like(true, NORMALISED_SIDE))


def correspondence_scores(
    predicted_px: ArrayLike,
    true_px: ArrayLike,
    size_px: ArrayLike,
    unreadable: ArrayLike,
    groups: ArrayLike,
    seed: int,
) -> CorrespondenceScores:
    """Score answers about points that image 2 sees.

    Args:
        predicted_px: (N, 2) x, y in the original image 2; NaN where the answer is unreadable or says "not visible".
        true_px: (N, 2).
        size_px: (N, 2) width and height of the original image 2.
        unreadable: (N,) True where the answer does not parse.
        groups: (N,) image pair (or scene) of each answer.
        seed: seed of the bootstrap.

    Raises:
        ValueError: shapes differ, no answers, a truth that is not finite, a size that is not positive, or an unreadable
            answer with a place.
    """
    predicted, true, size = (np.asarray(values, np.float64) for values in (predicted_px, true_px, size_px))
    failed, group = np.asarray(unreadable, bool), np.asarray(groups)
    n = len(true)
    shapes = (predicted.shape, true.shape, size.shape, failed.shape, group.shape)
    if n == 0 or shapes != ((n, 2), (n, 2), (n, 2), (n,), (n,)):
        raise ValueError(f"expected three (N, 2) and two (N,) arrays with N ≥ 1, found {', '.join(map(str, shapes))}")
    if not np.isfinite(true).all() or not (np.isfinite(size) & (size > 0)).all():
        raise ValueError(
            "true places must be finite and sizes positive: score points that image 2 does not see by visibility_scores"
        )
    if np.isfinite(predicted[failed]).any():
        raise ValueError("an unreadable answer must have NaN as its place")
    error = end_point_error(predicted, true, size)
    placed = _placed(predicted)
    return CorrespondenceScores(
        count=n,
        epe_mean_px=float(error.mean()),
        epe_median_px=float(np.median(error)),
        pck_px=_pck(error, placed),
        pck_normalised=_pck(normalised_error(predicted, true, size), placed),
        unreadable_share=float(failed.mean()),
        epe_mean_interval=mean_interval(error, group, seed),
        pck_px_at_10_interval=mean_interval(placed & (error <= 10), group, seed),
    )


def visibility_scores(
    said_hidden: ArrayLike, hidden: ArrayLike, unreadable: ArrayLike, groups: ArrayLike, seed: int
) -> VisibilityScores:
    """Score "not visible" as an answer.

    Args:
        said_hidden: (N,) True where the answer is "not visible".
        hidden: (N,) True where image 2 does not see the point.
        unreadable: (N,) True where the answer does not parse.
        groups: (N,) image pair (or scene) of each answer.
        seed: seed of the bootstrap.

    Raises:
        ValueError: shapes differ, no answers, or an answer that is both unreadable and "not visible".
    """
    said, true, failed = (np.asarray(values, bool) for values in (said_hidden, hidden, unreadable))
    group = np.asarray(groups)
    shapes = (said.shape, true.shape, failed.shape, group.shape)
    if true.ndim != 1 or len(true) == 0 or len(set(shapes)) != 1:
        raise ValueError(f"expected equal (N,) arrays with N ≥ 1, found {', '.join(map(str, shapes))}")
    if (said & failed).any():
        raise ValueError('an answer cannot be both unreadable and "not visible"')
    found, denied = np.where(true, said, np.nan), np.where(true, np.nan, said)
    return VisibilityScores(
        hidden_count=int(true.sum()),
        visible_count=int((~true).sum()),
        hidden_found_share=mean_known(found),
        visible_denied_share=mean_known(denied),
        unreadable_share=float(failed.mean()),
        hidden_found_interval=mean_interval(found, group, seed),
        visible_denied_interval=mean_interval(denied, group, seed),
    )


def _placed(predicted_px: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each answer (N,) states a place."""
    return np.isfinite(predicted_px[:, 0]) & np.isfinite(predicted_px[:, 1])


def _pck(error: NDArray[np.float64], placed: NDArray[np.bool_]) -> Pck:
    """Shares within each threshold; an answer without a place is wrong even if image 2's diagonal is below it."""
    return Pck(*(float(np.mean(placed & (error <= k))) for k in PCK_THRESHOLDS))
