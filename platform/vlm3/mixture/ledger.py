"""Which positions of the stream were consumed: exact, small, and independent of the order in which they came."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm3.errors import CheckpointError

PositionRange = tuple[int, int]
"""Positions start ≤ p < stop."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """An immutable set of positions: all below `watermark`, and those in the intervals above it."""

    watermark: int
    intervals: tuple[PositionRange, ...]
    """Sorted, disjoint, not touching, all above the watermark."""

    def __post_init__(self) -> None:
        previous = self.watermark
        for start, stop in self.intervals:
            if not previous < start < stop:
                raise ValueError(f"interval [{start}, {stop}) of the ledger does not lie beyond {previous}")
            previous = stop
        if self.watermark < 0:
            raise ValueError(f"watermark {self.watermark} of the ledger is negative")

    @classmethod
    def empty(cls) -> "Ledger":
        """A ledger without positions."""
        return cls(0, ())

    @property
    def stop(self) -> int:
        """First position above every consumed one."""
        return self.intervals[-1][1] if self.intervals else self.watermark

    def add(self, positions: ArrayLike) -> "Ledger":
        """The ledger with these positions, given in any order, added.

        Raises:
            ValueError: a position is negative, given twice or already in the ledger; names it.
        """
        ordered = np.sort(np.asarray(positions, np.int64).ravel())
        if not ordered.size:
            return self
        if ordered[0] < 0:
            raise ValueError(f"position {ordered[0]} is negative")
        breaks = np.flatnonzero(np.diff(ordered) != 1) + 1
        starts = ordered[np.concatenate([[0], breaks])]
        stops = ordered[np.concatenate([breaks - 1, [-1]])] + 1
        return _disjoint_union(np.stack([starts, stops], axis=1), self._all())

    def holds(self, positions: ArrayLike) -> NDArray[np.bool_]:
        """Whether each position was consumed."""
        asked = np.asarray(positions, np.int64)
        intervals = self._all()
        if not len(intervals):
            return np.zeros(asked.shape, bool)
        index = np.searchsorted(intervals[:, 0], asked, side="right") - 1
        held: NDArray[np.bool_] = (index >= 0) & (asked < intervals[np.maximum(index, 0), 1])
        return held

    def remaining(self, stop: int) -> tuple[PositionRange, ...]:
        """Intervals of the positions below `stop` that were not consumed, in order."""
        gaps, begin = [], self.watermark
        for start, end in (*self.intervals, (stop, stop)):
            if begin < min(start, stop):
                gaps.append((begin, min(start, stop)))
            begin = end
        return tuple(gaps)

    def to_json(self) -> str:
        """Compact text; `from_json` gives the same ledger."""
        return json.dumps({"watermark": self.watermark, "intervals": self.intervals}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Ledger":
        """The ledger that `to_json` wrote.

        Raises:
            CheckpointError: the text is damaged.
        """
        try:
            data = json.loads(text)
            return cls(int(data["watermark"]), tuple((int(start), int(stop)) for start, stop in data["intervals"]))
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(
                f"ledger of the checkpoint cannot be read: {error}; use an older checkpoint"
            ) from None

    def _all(self) -> NDArray[np.int64]:
        """(N, 2) all intervals, including the one below the watermark."""
        below: Iterable[PositionRange] = [(0, self.watermark)] if self.watermark else []
        return np.array([*below, *self.intervals], np.int64).reshape(-1, 2)


def _disjoint_union(first: NDArray[np.int64], second: NDArray[np.int64]) -> Ledger:
    """Ledger of two (N, 2) lists of intervals, each sorted; touching intervals are merged."""
    merged = np.concatenate([first, second])
    merged = merged[np.argsort(merged[:, 0], kind="stable")]
    starts, stops = merged[:, 0], merged[:, 1]
    overlaps = np.flatnonzero(starts[1:] < stops[:-1])
    if overlaps.size:
        raise ValueError(f"position {starts[1:][overlaps[0]]} was consumed twice")
    apart = np.flatnonzero(starts[1:] > stops[:-1]) + 1
    heads = starts[np.concatenate([[0], apart])] if len(merged) else starts
    tails = stops[np.concatenate([apart - 1, [-1]])] if len(merged) else stops
    intervals = tuple(zip(heads.tolist(), tails.tolist(), strict=True))
    if intervals and intervals[0][0] == 0:
        return Ledger(intervals[0][1], intervals[1:])
    return Ledger(0, intervals)
