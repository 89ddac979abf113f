"""The mixture plan: computes the sample at any position of the endless stream, by arithmetic alone.

No listing, no index, no replay: a plan is a few numbers per component, whatever the size of the data.
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from vlm3.errors import CheckpointError, ConfigError
from vlm3.mixture.components import ComponentSize, check_same, check_weights, ever_weighted, sample_limits
from vlm3.mixture.elements import place_of, replacement
from vlm3.mixture.segments import Change, Segment, follow
from vlm3.mixture.splitmix import word
from vlm3.seeds import derive_seed

__all__ = ["DEFAULT_PERIOD", "MAX_ATTEMPTS", "ComponentSize", "Draw", "DrawBatch", "MixturePlan"]

MAX_ATTEMPTS = 8
"""Most replacements of a position's sample."""
DEFAULT_PERIOD = 1 << 16


@dataclass(frozen=True, slots=True)
class Draw:
    """The sample at a position."""

    position: int
    component: int
    number: int
    """Number of samples of the component before this one, in the whole stream."""
    epoch: int
    """Number of complete passes over the component before this sample."""
    visit: int
    """Number of clips of the component visited before this one; `slots` samples in a row share a visit."""
    clip: int
    slot: int
    seed: int
    """Unsigned 64-bit seed of this sample's random choices; differs for every position and attempt."""
    attempt: int


@dataclass(frozen=True, slots=True, eq=False)
class DrawBatch:
    """The draws of a range of positions as columns: int64, `seed` uint64."""

    position: NDArray[np.int64]
    component: NDArray[np.int64]
    number: NDArray[np.int64]
    epoch: NDArray[np.int64]
    visit: NDArray[np.int64]
    clip: NDArray[np.int64]
    slot: NDArray[np.int64]
    seed: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.position)


@dataclass(frozen=True)
class MixturePlan:
    """An endless sequence of samples with exact shares; position p is the only identity a sample has.

    Within a component samples are numbered 0, 1, …; `slots` of them in a row come from one clip. Each epoch goes
    through the clips in another order, each visit through the slots of its clip in another order.
    """

    components: tuple[ComponentSize, ...]
    seed: int
    period: int
    limits: tuple[int | None, ...]
    """Largest number of samples of each component; None for no limit."""
    changes: tuple[Change, ...]
    """Log of all changes of the weights, by position; none is ever removed, and scheduled ones may lie ahead."""
    segments: tuple[Segment, ...]
    """Segments that follow from `changes`, by position."""
    end: int | None = None
    """First position without a sample, where every component with weight has reached its limit; None for no end."""
    version: Literal[2] = 2
    """Version of the arithmetic and the log: a plan of another version would replay another stream."""

    @classmethod
    def start(
        cls,
        components: Sequence[ComponentSize],
        weights: Sequence[float],
        seed: int,
        period: int = DEFAULT_PERIOD,
        schedule: Sequence[tuple[int, Sequence[float | None]]] = (),
        max_epochs: Sequence[float | None] | None = None,
    ) -> "MixturePlan":
        """A plan whose weights hold from position 0.

        Args:
            components: fixed for the life of the plan; one that joins later starts at weight 0.
            weights: relative shares, rounded to multiples of 1/period; each positive one gets at least one place per
                period.
            seed: any integer; another seed gives another order with the same shares.
            period: number of places in the schedule, T.
            schedule: (position, weights) of planned changes, by ascending position; None keeps a weight.
            max_epochs: most passes over each component; None for no limit.

        Raises:
            ConfigError: weights cannot be drawn, a component without clips has weight, or a limit is below one sample.
        """
        changes = [Change(0, tuple(weights), "start"), *(Change(p, tuple(w), "schedule") for p, w in schedule)]
        for change in changes:
            check_weights(components, change.weights)
        limits = sample_limits(components, max_epochs or [None] * len(components))
        segments, end = follow((), changes, limits, period)
        return cls(tuple(components), seed, period, limits, tuple(changes), segments, end)

    def __post_init__(self) -> None:
        size = len(self.components)
        if len({component.name for component in self.components}) != size:
            raise ValueError("two components of the plan have the same name")
        borders = [segment.from_position for segment in self.segments]
        if not borders or borders[0] != 0 or borders != sorted(set(borders)):
            raise ValueError(f"segments of the plan start at {borders}: expected 0 first, then ascending positions")
        asked = [change.from_position for change in self.changes]
        if not asked or asked[0] != 0 or asked != sorted(asked):
            raise ValueError(f"changes of the plan lie at {asked}: expected 0 first, then ascending positions")
        if {size} != {len(self.limits), *(len(change.weights) for change in self.changes)}:
            raise ValueError(f"limits and weights of the plan do not fit {size} components")
        for segment in self.segments:
            if len(segment.counts) != size or len(segment.first_numbers) != size or sum(segment.counts) != self.period:
                raise ValueError(
                    f"segment from {segment.from_position} does not fit {size} components, period {self.period}"
                )

    def __reduce__(self) -> tuple[type["MixturePlan"], tuple[object, ...]]:
        # Cached tables are left out and rebuilt where they are needed: a pickled plan is a few kilobytes.
        parts = (self.components, self.seed, self.period, self.limits, self.changes, self.segments, self.end)
        return MixturePlan, parts

    @property
    def asked(self) -> NDArray[np.float64]:
        """(components,) shares of the last segment, after rounding to the period."""
        return np.array(self.segments[-1].counts, np.float64) / self.period

    def segment(self, position: int) -> Segment:
        """The segment of a position: its shares, and why they changed."""
        return self.segments[bisect_right(self._borders, position) - 1]

    def asked_at(self, position: int) -> NDArray[np.float64]:
        """(components,) shares at a position, after rounding to the period."""
        return np.array(self.segment(position).counts, np.float64) / self.period

    def numbers(self, position: int) -> NDArray[np.int64]:
        """(components,) samples of each component before a position; divided by it, the shares of the stream so far."""
        position = position if self.end is None else min(position, self.end)
        return self.segment(position).numbers(position)

    def epochs(self, position: int) -> NDArray[np.float64]:
        """(components,) passes over each component's data before a position, with fractions."""
        elements = np.array([size.clips * size.slots for size in self.components], np.float64)
        return self.numbers(position) / np.maximum(elements, 1)

    def change(
        self,
        from_position: int,
        weights: Sequence[float | None],
        issued: int = 0,
        at: str | None = None,
        request: str | None = None,
    ) -> "MixturePlan":
        """The plan with other weights from `from_position` on; numbering within each component continues.

        Later scheduled changes still take place, on top of these weights; caps are computed anew.

        Args:
            from_position: first position of the new weights.
            weights: one per component, in their order; None keeps a weight.
            issued: first position that was not issued yet; what was issued never changes.
            at: UTC time of the request.
            request: id of the request.

        Raises:
            ConfigError: the position was issued, lies before the last live change or beyond the plan's end, or the
                weights cannot be drawn.
        """
        if from_position < issued:
            raise ConfigError(
                f"weights cannot change at position {from_position}: all below {issued} were issued already; change"
                f" them from {issued} on"
            )
        last = max((c.from_position for c in self.changes if c.reason == "live"), default=0)
        if from_position < last:
            raise ConfigError(
                f"weights cannot change at position {from_position}: they changed at {last} already; choose a position"
                " above every one issued"
            )
        if self.end is not None and from_position > self.end:
            raise ConfigError(f"weights cannot change at position {from_position}: the mixture ends at {self.end}")
        check_weights(self.components, weights)
        change = Change(from_position, tuple(weights), "live", at, request)
        changes = sorted((*self.changes, change), key=lambda entry: entry.from_position)
        kept = self.segments[: bisect_left(self._borders, from_position)]
        segments, end = follow(kept, changes, self.limits, self.period)
        parts = (self.components, self.seed, self.period, self.limits)
        return MixturePlan(*parts, tuple(changes), segments, end)

    def ever_drawn(self, stop: int) -> tuple[str, ...]:
        """Names of the components that have weight somewhere below position `stop`, live changes included."""
        names = [component.name for component in self.components]
        return ever_weighted(names, [change.weights for change in self.changes if change.from_position < stop])

    def require_steps(self, steps: int, global_batch: int) -> None:
        """Check that the mixture lasts for a whole run.

        Raises:
            ConfigError: every component with weight reaches its limit before the last step; names the step.
        """
        if self.end is not None and self.end < steps * global_batch:
            raise ConfigError(
                f"the mixture runs dry in step {self.end // global_batch + 1} of {steps} (position {self.end}): every"
                " component with weight has reached its mixture.max_epochs there; raise one, give another component"
                f" weight, or train for at most {self.end // global_batch} steps"
            )

    def sample(self, position: int, attempt: int = 0) -> Draw:
        """The sample at a position.

        Args:
            position: ≥ 0.
            attempt: 0 for the plan's own sample; 1 … 8 for its replacements where it cannot be used. A replacement
                keeps component, number, epoch and visit, and takes another element (clip, slot) from anywhere in the
                component. The attempts of a position never repeat an element while there are others. A neighbour would
                be a worse replacement: its whole clip may be damaged, and its own turn is near, so the stream would
                show it twice in a short time. A random element's own turn is at a random distance.
        """
        if position < 0 or not 0 <= attempt <= MAX_ATTEMPTS:
            raise ValueError(f"expected position ≥ 0 and attempt 0 … {MAX_ATTEMPTS}, found {position} and {attempt}")
        self._check_end(position + 1)
        segment = self.segment(position)
        schedule = segment.schedule
        periods, place = divmod(position - segment.from_position, self.period)
        component = int(schedule.component[place])
        number = segment.first_numbers[component] + periods * segment.counts[component] + int(schedule.rank[place])
        size, keys = self.components[component], self._keys[component]
        epoch, visit, clip, slot = place_of(number, size.clips, size.slots, *keys)
        seed = word(word(self._seed_key, attempt), position)
        if attempt:
            clip, slot = replacement(clip, slot, attempt, size, word(self._replacement_key, position))
        return Draw(position, component, number, epoch, visit, clip, slot, seed, attempt)

    def draws(self, start: int, stop: int) -> DrawBatch:
        """The plan's own samples (attempt 0) of positions [start, stop)."""
        if not 0 <= start <= stop:
            raise ValueError(f"expected 0 ≤ start ≤ stop, found [{start}, {stop})")
        self._check_end(stop)
        position = np.arange(start, stop, dtype=np.int64)
        component, number = np.empty_like(position), np.empty_like(position)
        first = bisect_right(self._borders, start) - 1
        last = max(bisect_left(self._borders, stop), first + 1)
        for segment, end in zip(self.segments[first:last], (*self._borders[first + 1 : last], stop), strict=True):
            part = slice(max(segment.from_position - start, 0), end - start)
            periods, place = np.divmod(position[part] - segment.from_position, self.period)
            schedule = segment.schedule
            mine = schedule.component[place]
            component[part] = mine
            begin, counts = np.array(segment.first_numbers, np.int64), np.array(segment.counts, np.int64)
            number[part] = begin[mine] + periods * counts[mine] + schedule.rank[place]
        columns = (column[component] for column in self._columns)
        places = place_of(number.astype(np.uint64), *columns)
        seed = word(np.full(len(position), word(self._seed_key, 0), np.uint64), position.astype(np.uint64))
        epoch, visit, clip, slot = (array.astype(np.int64) for array in places)
        return DrawBatch(position, component, number, epoch, visit, clip, slot, seed.astype(np.uint64))

    def to_json(self) -> str:
        """The whole plan as text; `from_json` gives the same stream again on any machine."""
        return _ADAPTER.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str, components: Sequence[ComponentSize] | None = None) -> "MixturePlan":
        """The plan that `to_json` wrote.

        Args:
            text: plan from a checkpoint or a run's plan file.
            components: components of the data that the run found, which must be those of the plan; None skips the
                check, for code that only looks at the plan.

        Raises:
            CheckpointError: the text is damaged or of another version, or components, sizes or fingerprints differ.
        """
        try:
            version = json.loads(text)["version"]
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"mixture plan cannot be read: {error}; use an older checkpoint") from None
        if version != cls.version:
            raise CheckpointError(
                f"mixture plan has version {version!r}, this package reads {cls.version} and would replay another"
                " stream: continue with the version of the package that started the run, or start a new run"
            )
        try:
            plan = _ADAPTER.validate_json(text, strict=True)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(map(str, fault["loc"])) or "(top)"
            raise CheckpointError(f"mixture plan cannot be read: {where}: {fault['msg']}") from None
        if components is not None:
            check_same(plan.components, tuple(components))
        return plan

    def _check_end(self, stop: int) -> None:
        if self.end is not None and stop > self.end:
            raise ValueError(f"positions below {stop} were asked for, the mixture ends at {self.end}")

    @cached_property
    def _borders(self) -> tuple[int, ...]:
        return tuple(segment.from_position for segment in self.segments)

    @cached_property
    def _columns(self) -> tuple[NDArray[np.uint64], ...]:
        """(components,) clips, slots, key of the clips' order, key of the slots' order."""
        sizes = [(size.clips, size.slots, *keys) for size, keys in zip(self.components, self._keys, strict=True)]
        return tuple(np.array(column, np.uint64) for column in zip(*sizes, strict=True))

    @cached_property
    def _keys(self) -> tuple[tuple[int, int], ...]:
        """(key of the clips' order, key of the slots' order) of each component.

        Derived from the component's name, so that adding another component changes nothing.
        """
        names = [component.name for component in self.components]
        return tuple((derive_seed(self.seed, "clips", n), derive_seed(self.seed, "slots", n)) for n in names)

    @cached_property
    def _seed_key(self) -> int:
        return derive_seed(self.seed, "samples")

    @cached_property
    def _replacement_key(self) -> int:
        return derive_seed(self.seed, "replacements")


_ADAPTER = TypeAdapter(MixturePlan)
