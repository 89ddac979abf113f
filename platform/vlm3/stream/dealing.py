"""How the positions of a run are dealt out: to steps, to the ranks of a step, and to the parcels a rank receives.

A step takes the next G positions, whatever the number of ranks. A parcel is what travels: some positions of one rank
in one step. Parcels are numbered so that dealing them out in turn (parcel n to rank n mod W) gives every rank its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vlm3.errors import ConfigError
from vlm3.mixture.ledger import PositionRange

MAX_PARCEL_ROWS = 64
"""At most 110 MB of pixels at VLM3's image size, below the 128 MB that object stores of Ray handle well; twice that
where all are pairs. With smaller parcels, the shares of a step would vary more when parcels come in any order."""


@dataclass(frozen=True, slots=True)
class StepShape:
    """How a step of G positions is divided into ranks, parcels and micro-batches."""

    global_batch: int
    world_size: int
    micro_batch: int

    def __post_init__(self) -> None:
        least = self.global_batch // self.world_size
        if least < self.micro_batches:
            good = max(1, least) * self.world_size
            raise ConfigError(
                f"train.global_batch {self.global_batch} over {self.world_size} workers in micro-batches of"
                f" {self.micro_batch} leaves a worker without a sample in its last micro-batch: use train.global_batch"
                f" {good} or {good + self.world_size}, or a larger engine.micro_batch"
            )

    @property
    def micro_batches(self) -> int:
        """Micro-batches of each rank in a step: the same number on every rank, each with at least one sample."""
        most = -(-self.global_batch // self.world_size)
        return -(-most // self.micro_batch)

    @property
    def parcels(self) -> int:
        """Parcels of each rank in a step."""
        most = -(-self.global_batch // self.world_size)
        return -(-most // MAX_PARCEL_ROWS)

    @property
    def even(self) -> bool:
        """Whether all parcels have one size: then they may come in any order, and a step still has G positions."""
        return self.global_batch % (self.world_size * self.parcels) == 0

    def borders(self) -> NDArray[np.int64]:
        """(world_size × parcels + 1,) borders between the parcels of a step, counted from the step's first position."""
        ranks = _shares(self.global_batch, self.world_size)
        sizes = np.stack([_shares(int(share), self.parcels) for share in ranks], axis=1)
        return np.concatenate([[0], np.cumsum(sizes.ravel())]).astype(np.int64)


def _shares(total: int, parts: int) -> NDArray[np.int64]:
    """(parts,) `total` divided as evenly as possible; the first parts take the remainder."""
    return total // parts + (np.arange(parts) < total % parts).astype(np.int64)


def split_rows(count: int, parts: int) -> tuple[slice, ...]:
    """Slices that cut `count` rows into `parts` stretches whose lengths differ by at most one."""
    stops = np.cumsum(_shares(count, parts)).tolist()
    return tuple(slice(start, stop) for start, stop in zip([0, *stops[:-1]], stops, strict=True))


@dataclass(frozen=True)
class Dealing:
    """The positions that a run has still to consume, cut into parcels. Small when pickled, however long the run is."""

    remaining: tuple[PositionRange, ...]
    """Ascending ranges [start, stop), together whole steps (from `vlm3.mixture.ledger.Ledger.remaining`)."""
    shape: StepShape

    def __post_init__(self) -> None:
        if self._ends[-1] % self.shape.global_batch:
            raise ValueError(f"{self._ends[-1]} positions remain, not whole steps of {self.shape.global_batch}")

    @property
    def steps(self) -> int:
        """Steps that remain."""
        return int(self._ends[-1]) // self.shape.global_batch

    @property
    def parcels(self) -> int:
        """Parcels that remain, over all ranks."""
        return self.steps * self._parcels_per_step

    def positions(self, parcel: int) -> NDArray[np.int64]:
        """(N,) positions of a parcel, ascending."""
        step, place = divmod(parcel, self._parcels_per_step)
        start, stop = step * self.shape.global_batch + self._borders[place : place + 2]
        places = np.arange(start, stop)
        interval = np.searchsorted(self._ends, places, side="right")
        return np.asarray(self._starts[interval] + places - (self._ends - self._lengths)[interval])

    def ranges(self, positions: int) -> int:
        """Number of ranges of parcels, of about `positions` positions each; a range is read by one task."""
        return -(-self.parcels // self._parcels_per_range(positions))

    def parcels_of(self, number: int, positions: int) -> Iterator[NDArray[np.int64]]:
        """Positions of each parcel in range `number`, where ranges have about `positions` positions."""
        size = self._parcels_per_range(positions)
        for parcel in range(number * size, min((number + 1) * size, self.parcels)):
            yield self.positions(parcel)

    def _parcels_per_range(self, positions: int) -> int:
        return max(1, round(positions * self._parcels_per_step / self.shape.global_batch))

    @cached_property
    def _borders(self) -> NDArray[np.int64]:
        return self.shape.borders()

    @property
    def _parcels_per_step(self) -> int:
        return self.shape.world_size * self.shape.parcels

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.array([start for start, _ in self.remaining], np.int64)

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        return np.array([stop - start for start, stop in self.remaining], np.int64)

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """(intervals,) number of positions up to the end of each interval; (1,) zero if nothing remains."""
        return np.cumsum(self._lengths) if self.remaining else np.zeros(1, np.int64)

    def __reduce__(self) -> tuple[type["Dealing"], tuple[object, ...]]:
        return Dealing, (self.remaining, self.shape)
