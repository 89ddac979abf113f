"""Realised shares of the mixture, counted from the received samples."""

import numpy as np
from numpy.typing import NDArray


def worst_share_error(components: NDArray[np.integer], asked: NDArray[np.floating], window: int) -> float:
    """Largest deviation of any component's share from the one asked for, over any `window` samples in a row.

    Args:
        components: (N,) component of each sample, in order of position.
        asked: (C,) shares that sum to 1.
        window: number of samples in a row, 1 … N.

    Returns:
        The largest |realised − asked| over all windows and components, in percentage points.
    """
    if not 1 <= window <= len(components):
        raise ValueError(f"window of {window} samples: expected 1 … {len(components)}, the samples there are")
    worst = 0.0
    for component, share in enumerate(asked):
        before = np.concatenate([[0], np.cumsum(components == component)])
        counts = before[window:] - before[:-window]
        worst = max(worst, counts.max() / window - share, share - counts.min() / window)
    return 100.0 * float(worst)


class ShareWatch:
    """Worst share error over windows of a stream, updated as samples arrive; holds only the most recent window."""

    def __init__(self, window: int) -> None:
        """Watch windows of `window` samples in a row."""
        self._window = window
        self._recent = np.empty(0, np.int64)
        self._asked: NDArray[np.float64] | None = None
        self._worst: float | None = None

    def add(self, components: NDArray[np.int64], asked: NDArray[np.float64]) -> None:
        """Add the next samples' components and the shares asked for; no window spans a change of these shares."""
        if self._asked is None or not np.array_equal(self._asked, asked):
            self._asked, self._recent = asked, np.empty(0, np.int64)
        self._recent = np.concatenate([self._recent, components])
        if len(self._recent) >= self._window:
            found = worst_share_error(self._recent, asked, self._window)
            self._worst = max(found, self._worst or 0.0)
            self._recent = self._recent[len(self._recent) - self._window + 1 :]

    @property
    def worst(self) -> float:
        """Worst share error so far, in percentage points; before the first full window, that of the samples there are.

        NaN before the first samples.
        """
        if self._worst is None and self._asked is not None:
            return worst_share_error(self._recent, self._asked, len(self._recent))
        return float("nan") if self._worst is None else self._worst
