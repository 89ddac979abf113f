"""Realised shares of the mixture, counted on the samples that were received."""

import numpy as np
from numpy.typing import NDArray


def realised_shares(components: NDArray[np.integer], size: int) -> NDArray[np.float64]:
    """(size,) share of each component among the samples; zeros where there are no samples.

    Args:
        components: (N,) component of each sample.
        size: number of components.
    """
    shares: NDArray[np.float64] = np.bincount(components, minlength=size) / max(len(components), 1)
    return shares


def worst_share_error(components: NDArray[np.integer], asked: NDArray[np.floating], window: int) -> float:
    """How far the share of any component strays from the one asked, over any `window` samples in a row.

    Args:
        components: (N,) component of each sample, in order of position.
        asked: (C,) shares that sum to 1.
        window: samples in a row, 1 … N.

    Returns:
        The greatest |realised − asked| over all windows and components, in percentage points.
    """
    if not 1 <= window <= len(components):
        raise ValueError(f"window of {window} samples: expected 1 … {len(components)}, the samples there are")
    worst = 0.0
    for component, share in enumerate(asked):
        before = np.concatenate([[0], np.cumsum(components == component)])
        counts = before[window:] - before[:-window]
        worst = max(worst, counts.max() / window - share, share - counts.min() / window)
    return 100.0 * float(worst)
