"""The first stage of the stream: from positions to stored frames. Each clip that a range needs is read once.

No Ray here: tests and tools call it directly.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vlm3.errors import DamagedError, DataError
from vlm3.log import get_logger
from vlm3.mixture.plan import MAX_ATTEMPTS, DrawBatch, MixturePlan
from vlm3.mixture.quarantine import Fault, FaultKind
from vlm3.scenes.sharded import DEPTH_COLUMNS, ShardedSource
from vlm3.storage.counters import StorageUse, storage_use
from vlm3.storage.read_ahead import read_ahead
from vlm3.storage.split import Split
from vlm3.tasks.depth import DepthTask
from vlm3.train.parcels import Cost, EncodedParcel
from vlm3.views.unify import UnifyPolicy

log = get_logger(__name__)
Visit = tuple[int, int, int]
"""(component, visit, clip): samples in a row of a component that come from one clip."""


@dataclass(frozen=True, slots=True)
class Component:
    """One (source, task) of the mixture."""

    name: str
    source: ShardedSource
    task: DepthTask
    policy: UnifyPolicy

    def read(self, clip: int) -> pa.Table:
        """The rows of a clip with the columns that the task needs. Raises as `ShardedSource.read_table`."""
        return self.source.read_table(Split.TRAIN, clip, DEPTH_COLUMNS)


@dataclass(frozen=True, slots=True)
class StoredSample:
    """The element that stands at a position, as it is stored."""

    component: int
    attempt: int
    seed: int
    frame: pa.Table
    """One row."""


@dataclass(frozen=True, slots=True)
class ClipReader:
    """Reads what a plan places at positions."""

    components: tuple[Component, ...]
    ahead: int
    """Clips read before they are needed, each in a thread: hides the store's latency."""

    def parcels(self, plan: MixturePlan, groups: Sequence[NDArray[np.int64]]) -> Iterator[EncodedParcel]:
        """One parcel for each group of positions, in order.

        Args:
            plan: places samples at all of these positions.
            groups: (N,) ascending positions of each parcel, ascending from parcel to parcel.

        Raises:
            DataError: a shard is missing, or `MAX_ATTEMPTS` replacements in a row lie in damaged clips.
            StorageError: the store does not answer: nothing is known of the data, and nothing is quarantined.
        """
        if not groups:
            return
        positions = np.concatenate(groups)
        draws = _draws(plan, positions)
        component = draws.component
        keys = list(zip(component.tolist(), draws.visit.tolist(), draws.clip.tolist(), strict=True))
        last_use = {key: index for index, key in enumerate(keys)}
        order = list(dict.fromkeys(keys))
        clips: dict[Visit, pa.Table | Fault] = {}
        used, started = storage_use(), time.perf_counter()
        with closing(read_ahead((partial(self._read, key[0], key[2]) for key in order), self.ahead)) as arriving:
            index = 0
            for group in groups:
                frames, faults, attempts, seeds = [], [], [], []
                for position in group.tolist():
                    key = keys[index]
                    if key not in clips:
                        # In order of first use: the next to arrive is the one that is missing.
                        clips[key] = next(arriving)
                    stored, more = self._stored(plan, position, clips[key], draws, index)
                    frames.append(stored.frame)
                    attempts.append(stored.attempt)
                    seeds.append(stored.seed)
                    faults += more
                    if last_use[key] == index:
                        del clips[key]
                    index += 1
                now = storage_use()
                yield EncodedParcel(
                    group,
                    component[index - len(group) : index],
                    np.array(attempts, np.int64),
                    np.array(seeds, np.uint64),
                    pa.concat_tables(frames).combine_chunks(),
                    tuple(faults),
                    _cost(now.since(used), time.perf_counter() - started),
                )
                # What is read ahead while the parcel travels counts for the next one; the time does not.
                used, started = now, time.perf_counter()

    def replacement(
        self, plan: MixturePlan, position: int, after_attempt: int
    ) -> tuple[StoredSample | None, list[Fault]]:
        """The next element for a position whose element of `after_attempt` is bad, and what was bad on the way.

        None where `MAX_ATTEMPTS` are used up. Raises as `parcels`.
        """
        faults: list[Fault] = []
        for attempt in range(after_attempt + 1, MAX_ATTEMPTS + 1):
            draw = plan.sample(position, attempt)
            found = self._read(draw.component, draw.clip)
            if isinstance(found, pa.Table):
                frame = _row(found, draw.epoch, draw.slot, self.components[draw.component])
                return StoredSample(draw.component, attempt, draw.seed, frame), faults
            faults.append(_at(found, position, attempt))
        return None, faults

    def _stored(
        self, plan: MixturePlan, position: int, clip: pa.Table | Fault, draws: DrawBatch, index: int
    ) -> tuple[StoredSample, list[Fault]]:
        if isinstance(clip, pa.Table):
            component = int(draws.component[index])
            frame = _row(clip, int(draws.epoch[index]), int(draws.slot[index]), self.components[component])
            return StoredSample(component, 0, int(draws.seed[index]), frame), []
        faults = [_at(clip, position, 0)]
        stored, more = self.replacement(plan, position, 0)
        faults += more
        if stored is None:
            raise used_up(faults)
        return stored, faults

    def _read(self, number: int, clip: int) -> pa.Table | Fault:
        """A clip of a component, or why its bytes are of no use."""
        component = self.components[number]
        try:
            return component.read(clip)
        except DamagedError as error:
            log.warning("%s, clip %d is damaged: %s", component.name, clip, error)
            kind = type(error.__cause__ or error).__name__
            return Fault(-1, 0, component.name, f"clip {clip}", FaultKind.CLIP, kind, str(error))


def used_up(faults: Sequence[Fault]) -> DataError:
    """The error for a position all of whose attempts are bad."""
    last = faults[-1]
    return DataError(
        f"position {last.position}: {MAX_ATTEMPTS + 1} samples in a row of {last.component} are bad, the last:"
        f" {last.item}: {last.reason}; check the source with jobs/doctor.py"
    )


def _draws(plan: MixturePlan, positions: NDArray[np.int64]) -> DrawBatch:
    """The plan's own samples at ascending positions."""
    runs = np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1)
    parts = [plan.draws(int(run[0]), int(run[-1]) + 1) for run in runs if len(run)]
    names = [field.name for field in fields(DrawBatch)]
    return DrawBatch(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _row(clip: pa.Table, epoch: int, slot: int, component: Component) -> pa.Table:
    """The frame of a slot: a view. Visits of a clip go on where the one before ended, so that every frame is shown."""
    return clip.slice((epoch * component.source.slots + slot) % clip.num_rows, 1)


def _at(fault: Fault, position: int, attempt: int) -> Fault:
    return Fault(position, attempt, fault.component, fault.item, fault.kind, fault.error, fault.reason)


def _cost(used: StorageUse, seconds: float) -> Cost:
    return Cost(used.requests, used.bytes_read, sum(used.retries.values()), seconds)
