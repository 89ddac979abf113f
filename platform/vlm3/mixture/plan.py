"""The mixture plan: from a position of the endless stream to the sample that stands there, by arithmetic alone.

No listing, no index, no replay: a plan is a few numbers per component, whatever the size of the data.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from vlm3.errors import CheckpointError, ConfigError
from vlm3.mixture.mixing import Word, word
from vlm3.mixture.permutation import MAX_SIZE, permute
from vlm3.mixture.schedule import Schedule, build_schedule, quantise
from vlm3.seeds import derive_seed

MAX_ATTEMPTS = 8
"""Replacements a position may have."""
DEFAULT_PERIOD = 1 << 16


@dataclass(frozen=True, slots=True)
class ComponentSize:
    """What the plan knows of a component (source, task)."""

    name: str
    clips: int
    """Training clips; 0 only without weight."""
    slots: int
    """Samples drawn from a clip in one visit."""
    fingerprint: str
    """Of the data: the plan is not continued on other data."""

    def __post_init__(self) -> None:
        if self.clips < 0 or self.slots < 1 or self.clips * self.slots > MAX_SIZE:
            raise ValueError(f"{self.name}: {self.clips} clips of {self.slots} slots is not 1 … 2⁴⁰ elements")


@dataclass(frozen=True, slots=True)
class Segment:
    """Weights that hold from a position on."""

    from_position: int
    counts: tuple[int, ...]
    """Places of each component in a period; they sum to it."""
    first_numbers: tuple[int, ...]
    """Samples of each component before `from_position`."""


@dataclass(frozen=True, slots=True)
class Draw:
    """The sample at a position."""

    position: int
    component: int
    number: int
    """How many samples of the component come before, in the whole stream."""
    epoch: int
    """How many times the component was gone through before."""
    visit: int
    """How many clips of the component were gone through before; `slots` samples in a row share a visit."""
    clip: int
    slot: int
    seed: int
    """Unsigned 64-bit seed of this sample's own choices; differs for every position and attempt."""
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
    segments: tuple[Segment, ...]
    """Append-only log of weights, by position."""
    version: Literal[1] = 1
    """Of the arithmetic: a plan of another version would replay another stream."""

    @classmethod
    def start(
        cls, components: Sequence[ComponentSize], weights: Sequence[float], seed: int, period: int = DEFAULT_PERIOD
    ) -> "MixturePlan":
        """A plan whose weights hold from position 0.

        Args:
            components: fixed for the life of the plan; one that is to come later starts at weight 0.
            weights: relative shares, rounded to multiples of 1/period; a positive one gets at least one place a period.
            seed: any integer; another seed gives another order of the same shares.
            period: places of the schedule, T.

        Raises:
            ConfigError: weights that cannot be drawn, or a component without clips that has weight.
        """
        counts = _counts(components, weights, period)
        return cls(tuple(components), seed, period, (Segment(0, counts, (0,) * len(counts)),))

    def __post_init__(self) -> None:
        size = len(self.components)
        borders = [segment.from_position for segment in self.segments]
        if len({component.name for component in self.components}) != size:
            raise ValueError("two components of the plan have the same name")
        if not borders or borders[0] != 0 or borders != sorted(borders):
            raise ValueError(f"segments of the plan start at {borders}: expected 0 first, then ascending positions")
        for segment in self.segments:
            if len(segment.counts) != size or len(segment.first_numbers) != size or sum(segment.counts) != self.period:
                raise ValueError(
                    f"segment from {segment.from_position} does not fit {size} components, period {self.period}"
                )

    def __reduce__(self) -> tuple[type["MixturePlan"], tuple[object, ...]]:
        # Tables are rebuilt where they are needed, never shipped: a pickled plan is a few hundred bytes.
        return MixturePlan, (self.components, self.seed, self.period, self.segments)

    @property
    def asked(self) -> NDArray[np.float64]:
        """(components,) shares that the stream realises from the last change on, after rounding to the period."""
        return np.array(self.segments[-1].counts, np.float64) / self.period

    def change(self, from_position: int, weights: Sequence[float]) -> "MixturePlan":
        """The plan with other weights from `from_position` on; numbering within each component continues.

        Args:
            from_position: above every position issued so far; the caller knows, the plan does not.
            weights: one per component, in their order.

        Raises:
            ConfigError: the position lies before the last change, or weights that cannot be drawn.
        """
        last = self.segments[-1]
        if from_position < last.from_position:
            raise ConfigError(
                f"weights cannot change at position {from_position}: they changed at {last.from_position} already; "
                "choose a position above every one issued"
            )
        periods, place = divmod(from_position - last.from_position, self.period)
        begun = np.bincount(self._schedules[-1].component[:place], minlength=len(self.components)).tolist()
        numbers = tuple(n + periods * c + b for n, c, b in zip(last.first_numbers, last.counts, begun, strict=True))
        segment = Segment(from_position, _counts(self.components, weights, self.period), numbers)
        return MixturePlan(self.components, self.seed, self.period, (*self.segments, segment))

    def sample(self, position: int, attempt: int = 0) -> Draw:
        """The sample at a position.

        Args:
            position: ≥ 0.
            attempt: 0 for the plan's own sample; 1 … 8 for its replacements where it cannot be used. A replacement
                keeps component, number, epoch and visit, and takes another element (clip, slot) from anywhere in the
                component. The attempts of a position never repeat an element while there are others. Neighbours would
                be worse: their clip may be damaged as a whole, and their own turn is near, so the stream would show
                them twice in a row; this way the element's second showing is at a random distance from its own turn.
        """
        if position < 0 or not 0 <= attempt <= MAX_ATTEMPTS:
            raise ValueError(f"expected position ≥ 0 and attempt 0 … {MAX_ATTEMPTS}, found {position} and {attempt}")
        index = bisect_right(self._borders, position) - 1
        segment, schedule = self.segments[index], self._schedules[index]
        periods, place = divmod(position - segment.from_position, self.period)
        component = int(schedule.component[place])
        number = segment.first_numbers[component] + periods * segment.counts[component] + int(schedule.rank[place])
        size, keys = self.components[component], self._keys[component]
        epoch, visit, clip, slot = _place(number, size.clips, size.slots, *keys)
        seed = word(word(self._seed_key, attempt), position)
        if attempt:
            clip, slot = _replacement(clip, slot, attempt, size, word(self._replacement_key, position))
        return Draw(position, component, number, epoch, visit, clip, slot, seed, attempt)

    def draws(self, start: int, stop: int) -> DrawBatch:
        """The plan's own samples (attempt 0) of positions [start, stop)."""
        if not 0 <= start <= stop:
            raise ValueError(f"expected 0 ≤ start ≤ stop, found [{start}, {stop})")
        position = np.arange(start, stop, dtype=np.int64)
        component, number = np.empty_like(position), np.empty_like(position)
        ends = (*self._borders[1:], stop)
        for segment, schedule, end in zip(self.segments, self._schedules, ends, strict=True):
            part = slice(max(segment.from_position - start, 0), max(min(end, stop) - start, 0))
            periods, place = np.divmod(position[part] - segment.from_position, self.period)
            mine = schedule.component[place]
            component[part] = mine
            first, counts = np.array(segment.first_numbers, np.int64), np.array(segment.counts, np.int64)
            number[part] = first[mine] + periods * counts[mine] + schedule.rank[place]
        columns = np.array([(size.clips, size.slots) for size in self.components], np.uint64).T
        keys = np.array(self._keys, np.uint64).T
        places = _place(number.astype(np.uint64), *(column[component] for column in (*columns, *keys)))
        seed = word(np.full(len(position), word(self._seed_key, 0), np.uint64), position.astype(np.uint64))
        epoch, visit, clip, slot = (array.astype(np.int64) for array in places)
        return DrawBatch(position, component, number, epoch, visit, clip, slot, seed.astype(np.uint64))

    def to_json(self) -> str:
        """All of the plan; `from_json` gives the same stream again on any machine."""
        return _ADAPTER.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str, components: Sequence[ComponentSize]) -> "MixturePlan":
        """The plan that `to_json` wrote.

        Args:
            text: of a checkpoint.
            components: of the data at hand, which must be what the plan was made for.

        Raises:
            CheckpointError: damaged text, or other components, sizes or fingerprints.
        """
        try:
            plan = _ADAPTER.validate_json(text, strict=True)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(map(str, fault["loc"])) or "(top)"
            raise CheckpointError(f"mixture plan of the checkpoint cannot be read: {where}: {fault['msg']}") from None
        _check_same(plan.components, tuple(components))
        return plan

    @cached_property
    def _borders(self) -> tuple[int, ...]:
        return tuple(segment.from_position for segment in self.segments)

    @cached_property
    def _schedules(self) -> tuple[Schedule, ...]:
        return tuple(build_schedule(segment.counts) for segment in self.segments)

    @cached_property
    def _keys(self) -> tuple[tuple[int, int], ...]:
        """Of each component's clips and slots: by name, so another component beside it changes nothing."""
        names = [component.name for component in self.components]
        return tuple((derive_seed(self.seed, "clips", n), derive_seed(self.seed, "slots", n)) for n in names)

    @cached_property
    def _seed_key(self) -> int:
        return derive_seed(self.seed, "samples")

    @cached_property
    def _replacement_key(self) -> int:
        return derive_seed(self.seed, "replacements")


_ADAPTER = TypeAdapter(MixturePlan)


def _place(number: Word, clips: Word, slots: Word, clip_key: Word, slot_key: Word) -> tuple[Word, Word, Word, Word]:
    """(epoch, visit, clip, slot) of a component's sample `number`."""
    visit, turn = number // slots, number % slots
    epoch, index = visit // clips, visit % clips
    return epoch, visit, permute(index, clips, word(clip_key, epoch)), permute(turn, slots, word(slot_key, visit))


def _replacement(clip: int, slot: int, attempt: int, size: ComponentSize, key: int) -> tuple[int, int]:
    """(clip, slot) of a position's replacement: the attempt-th of a shuffle of all other elements of the component."""
    elements = size.clips * size.slots
    if elements == 1:
        return clip, slot
    distance = 1 + permute((attempt - 1) % (elements - 1), elements - 1, key)
    return divmod((clip * size.slots + slot + distance) % elements, size.slots)


def _counts(components: Sequence[ComponentSize], weights: Sequence[float], period: int) -> tuple[int, ...]:
    if len(weights) != len(components):
        raise ConfigError(f"the mixture has {len(components)} components, found {len(weights)} weights")
    for component, weight in zip(components, weights, strict=True):
        if weight > 0 and component.clips == 0:
            raise ConfigError(
                f"component {component.name!r} has weight {weight} but no training clips: set its weight to 0"
            )
    return quantise(weights, period)


def _check_same(planned: tuple[ComponentSize, ...], found: tuple[ComponentSize, ...]) -> None:
    expected, names = [part.name for part in planned], [part.name for part in found]
    if expected != names:
        raise CheckpointError(
            f"the checkpoint's mixture has components {', '.join(expected)}, this run has {', '.join(names)}: "
            "resume with the sources and tasks it was started with"
        )
    for old, new in zip(planned, found, strict=True):
        if old != new:
            raise CheckpointError(
                f"component {old.name!r} was {old.clips} clips of {old.slots} slots of data {old.fingerprint} in the "
                f"checkpoint, found {new.clips} of {new.slots} of {new.fingerprint}: use the old data or start anew"
            )
