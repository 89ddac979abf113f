"""The order of components in one period of the stream: shares hold in every window, not only on average."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vlm3.errors import ConfigError


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """One period of the stream, repeated for ever."""

    component: NDArray[np.int32]
    """(T,) component at each place."""
    rank: NDArray[np.int32]
    """(T,) number of earlier places of the same component in the period."""


def quantise(weights: Sequence[float], period: int) -> tuple[int, ...]:
    """Integers proportional to the weights that sum to `period` exactly, by largest remainder.

    A positive weight gets at least 1, a zero weight 0; ties go to the earlier component.

    Raises:
        ConfigError: a weight is negative or not finite, all are zero, or more than `period` weights are positive.
    """
    for index, weight in enumerate(weights):
        if not math.isfinite(weight) or weight < 0:
            raise ConfigError(f"weight {index} of the mixture: expected a finite number ≥ 0, found {weight}")
    total = sum(map(Fraction, weights), Fraction(0))
    if total == 0:
        raise ConfigError("the mixture has no weight: give at least one component a weight above 0")
    positive = [index for index, weight in enumerate(weights) if weight > 0]
    if len(positive) > period:
        raise ConfigError(
            f"{len(positive)} components have weight, a period of {period} has no room: raise stream.period"
        )
    ideal = [Fraction(weight) * period / total for weight in weights]
    counts = [max(math.floor(share), 1) if share > 0 else 0 for share in ideal]
    # Lifting tiny shares to 1 can overshoot: the surplus is taken from the counts that fall least below their ideal.
    while sum(counts) < period:
        counts[max(positive, key=lambda i: ideal[i] - counts[i])] += 1
    while sum(counts) > period:
        counts[min((i for i in positive if counts[i] > 1), key=lambda i: ideal[i] - counts[i])] -= 1
    return tuple(counts)


@lru_cache(maxsize=64)
def build_schedule(counts: tuple[int, ...]) -> Schedule:
    """Spread `counts[i]` places of component i over a period of `sum(counts)` places.

    After any number n of places, also over many periods, component i has had n·counts[i]/T places to within less than
    1, so in every window the error is below 2. Method: Tijdeman, "The chairman assignment problem" (Discrete
    Mathematics 32, 1980): each place of a component has a release and a deadline; of the released ones, that with the
    earliest deadline comes next.
    """
    period = sum(counts)
    slack = max(2 * sum(count > 0 for count in counts) - 2, 2)
    owner = np.repeat(np.arange(len(counts)), counts)
    count = np.repeat(np.array(counts, np.int64), counts)
    rank = np.concatenate([np.arange(count, dtype=np.int64) for count in counts])
    # Prefixes stay within 1 − 1/slack of the ideal: job k (1-based) may come once n·count/T ≥ k − 1 + 1/slack,
    # and must have come when n·count/T > k − 1/slack. Places n are 1-based.
    release = -(-period * (rank * slack + 1) // (slack * count))
    deadline = period * ((rank + 1) * slack - 1) // (slack * count) + 1
    order = np.argsort(release, kind="stable")
    jobs = (deadline * len(counts) + owner)[order].tolist()
    first_after = np.searchsorted(release[order], np.arange(1, period + 1), side="right").tolist()
    ready: list[int] = []
    chosen = []
    pushed = 0
    for released in first_after:
        for job in jobs[pushed:released]:
            heapq.heappush(ready, job)
        pushed = released
        chosen.append(heapq.heappop(ready))
    component = (np.array(chosen, np.int64) % len(counts)).astype(np.int32)
    ranks = np.empty(period, np.int32)
    ranks[np.argsort(component, kind="stable")] = rank
    component.flags.writeable = ranks.flags.writeable = False
    return Schedule(component, ranks)
