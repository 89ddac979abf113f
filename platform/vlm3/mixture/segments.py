"""Turns a log of weight changes into the segments of the stream: counts per period, counters, and caps.

Everything here is arithmetic on positions. What lies before a change never depends on it, so a log of changes always
gives the same stream again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vlm3.errors import ConfigError
from vlm3.mixture.schedule import Schedule, build_schedule, quantise

Reason = Literal["start", "schedule", "live", "cap"]
FAR = 1 << 60
"""A position beyond the end of any real stream; counters up to here fit in int64."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the weights, by the recipe or while the run was going on."""

    from_position: int
    weights: tuple[float | None, ...]
    """Relative weight of each component; None keeps the current one."""
    reason: Literal["start", "schedule", "live"]
    at: str | None = None
    """UTC time of the request for a live change; None for changes in the recipe."""
    request: str | None = None
    """Id of the request for a live change, so that it is not granted twice."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the stream with the same shares, from a position on."""

    from_position: int
    counts: tuple[int, ...]
    """Places of each component in a period; they sum to the period."""
    first_numbers: tuple[int, ...]
    """Samples of each component before `from_position`."""
    reason: Reason
    """Why the shares changed; `cap`: a component has reached its limit."""
    at: str | None = None
    """UTC time of the request for a live change."""

    @property
    def schedule(self) -> Schedule:
        """Schedule of one period, built on first use."""
        return build_schedule(self.counts)

    def numbers(self, position: int) -> NDArray[np.int64]:
        """(components,) samples of each component before a position ≥ `from_position`, ignoring later segments."""
        periods, place = divmod(position - self.from_position, sum(self.counts))
        numbers = np.array(self.first_numbers, np.int64) + periods * np.array(self.counts, np.int64)
        if place:
            numbers += np.bincount(self.schedule.component[:place], minlength=len(self.counts))
        return numbers

    def reached(self, component: int, number: int) -> int:
        """Position of a component's sample `number`, ignoring later segments; the component's count must be > 0."""
        periods, rank = divmod(number - self.first_numbers[component], self.counts[component])
        place = int(np.flatnonzero(self.schedule.component == component)[rank])
        return self.from_position + periods * sum(self.counts) + place


def follow(
    kept: tuple[Segment, ...], changes: Sequence[Change], limits: Sequence[int | None], period: int
) -> tuple[tuple[Segment, ...], int | None]:
    """The segments that follow from a log of changes.

    A component that has reached its limit has no share from the position on where its next sample would be; the others
    keep their relative weights.

    Args:
        kept: segments that stay as they are; only changes after the start of the last one add segments.
        changes: log in order of position; several at one position are all applied, in this order.
        limits: largest number of samples of each component, None for no limit.
        period: number of places in the schedule, T.

    Returns:
        All segments, and the first position without a sample, where every component with weight has reached its limit;
        None if there is no such position.

    Raises:
        ConfigError: from some position on no component has weight.
    """
    segments = list(kept)
    settled = kept[-1].from_position if kept else -1
    asked = [0.0] * len(limits)
    for index, change in enumerate(changes):
        asked = [old if new is None else new for old, new in zip(asked, change.weights, strict=True)]
        until = changes[index + 1].from_position if index + 1 < len(changes) else None
        if change.from_position <= settled or change.from_position == until:
            continue
        if not any(asked):
            raise ConfigError(
                f"from position {change.from_position} on the mixture has no weight: give at least one component a"
                " weight above 0"
            )
        end = _stretch(segments, change, until, asked, limits, period)
        if end is not None:
            return tuple(segments), end
    return tuple(segments), None


def _stretch(
    segments: list[Segment],
    change: Change,
    until: int | None,
    asked: Sequence[float],
    limits: Sequence[int | None],
    period: int,
) -> int | None:
    """Append the segments from a change to the next; returns the position where the mixture runs dry, None if never."""
    begin, at = change.from_position, change.at
    reason: Reason = change.reason
    while True:
        numbers = segments[-1].numbers(begin).tolist() if segments else [0] * len(asked)
        room = [limit is None or number < limit for number, limit in zip(numbers, limits, strict=True)]
        weights = [weight if free else 0.0 for weight, free in zip(asked, room, strict=True)]
        if not any(weights):
            return begin
        segment = Segment(begin, quantise(weights, period), tuple(numbers), reason, at)
        segments.append(segment)
        full = _next_full(segment, limits)
        if full is None or (until is not None and full >= until):
            return None
        begin, reason, at = full, "cap", None


def _next_full(segment: Segment, limits: Sequence[int | None]) -> int | None:
    """First position of a segment at which a component would exceed its limit, None if no limit is within reach."""
    limited = [
        (number, limit) for number, limit in enumerate(limits) if limit is not None and segment.counts[number] > 0
    ]
    full = min((segment.reached(component, limit) for component, limit in limited), default=FAR)
    return full if full < FAR else None
