"""Choice of the labelled points of a view that are asked about."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

DEPTH_BINS = 10
EDGE_REACH_PX = 2
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""
Indices = NDArray[np.intp]


class PointSampling(StrEnum):
    """How points are chosen; always without repetition and in random order."""

    UNIFORM = "uniform"
    """Every label is as likely as any other."""
    EDGE_AWARE = "edge_aware"
    """Half of them from the third of the labels with the strongest image edge beside them, the rest uniformly."""
    DEPTH_BALANCED = "depth_balanced"
    """As evenly as possible over ten bins of equal width in log depth; bins without labels do not count."""


def choose_points(
    sampling: PointSampling,
    count: int,
    image: NDArray[np.uint8],
    points_px: NDArray[np.float64],
    depth_m: NDArray[np.float64],
    rng: np.random.Generator,
) -> Indices:
    """Indices of up to `count` different labels, in the order in which they are asked about.

    Args:
        sampling: how points are chosen.
        count: number of points; fewer are chosen where there are fewer labels.
        image: (H, W, 3) RGB.
        points_px: (N, 2) labelled points inside the image.
        depth_m: (N,) their depths, positive.
        rng: generator of the random choice.
    """
    match sampling:
        case PointSampling.UNIFORM:
            return rng.permutation(len(points_px))[:count]
        case PointSampling.EDGE_AWARE:
            return _half_from_the_strongest_third(edge_strength(image, points_px), count, rng)
        case PointSampling.DEPTH_BALANCED:
            return _evenly(depth_bins(depth_m), count, rng)


def edge_strength(image: NDArray[np.uint8], points_px: NDArray[np.float64]) -> NDArray[np.float32]:
    """Strength of the image edge beside each point (N,): largest minus smallest grey of 3 × 3 pixels, 2 px apart.

    This is the morphological gradient of 5 × 5 px, sampled at every other pixel. Outside the image its border repeats.

    Args:
        image: (H, W, 3) RGB.
        points_px: (N, 2).
    """
    height, width = image.shape[:2]
    columns, rows = np.rint(points_px).astype(np.intp).T
    reach = np.array([-EDGE_REACH_PX, 0, EDGE_REACH_PX])[:, None]
    x = np.clip(columns + reach, 0, width - 1)
    y = np.clip(rows + reach, 0, height - 1)
    # Flat indices are three times as fast as rows and columns.
    near = image.reshape(-1, 3).take((width * y[:, None] + x).reshape(9, -1), axis=0)
    strength: NDArray[np.float32] = np.ptp(near @ LUMA, axis=0)
    return strength


def depth_bins(depth_m: NDArray[np.float64]) -> Indices:
    """Bin of each depth (N,): `DEPTH_BINS` bins of equal width in log depth, from the nearest label to the farthest."""
    log = np.log(depth_m)
    nearest, span = log.min(), np.ptp(log)
    bins: Indices = np.minimum((log - nearest) / (span or 1.0) * DEPTH_BINS, DEPTH_BINS - 1).astype(np.intp)
    return bins


def _evenly(bins: Indices, count: int, rng: np.random.Generator) -> Indices:
    """Indices in rounds: a point of every occupied bin, then another of every bin that has one left, and so on."""
    shuffled = rng.permutation(len(bins))
    grouped = shuffled[np.argsort(bins[shuffled], kind="stable")]
    sizes = np.bincount(bins, minlength=DEPTH_BINS)
    turn = np.arange(len(bins)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    # The order of bins within a round is random, so that an incomplete round favours none.
    place = rng.permutation(DEPTH_BINS)[bins[grouped]]
    return grouped[np.argsort(turn * DEPTH_BINS + place)[:count]]


def _half_from_the_strongest_third(strength: NDArray[np.float32], count: int, rng: np.random.Generator) -> Indices:
    shuffled = rng.permutation(len(strength))
    # Shuffled before sorting, so that ties are broken at random, e.g. in an image without edges.
    strongest = shuffled[np.argsort(-strength[shuffled], kind="stable")[: -(-len(strength) // 3)]]
    edges = rng.permutation(strongest)[: -(-min(count, len(strength)) // 2)]
    left = np.ones(len(strength), bool)
    left[edges] = False
    others = rng.permutation(np.flatnonzero(left))[: count - len(edges)]
    return rng.permutation(np.concatenate([edges, others]))
