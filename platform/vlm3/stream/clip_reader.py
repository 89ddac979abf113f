"""The first stage of the stream: from positions to stored frames. Each clip that a range needs is read once.

No Ray here: tests and tools call it directly.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vlm3.asking.protocol import AnyTask, Labels
from vlm3.errors import DamagedError, DataError
from vlm3.log import get_logger
from vlm3.mixture.plan import MAX_ATTEMPTS, Draw, DrawBatch, MixturePlan
from vlm3.scenes.checks import stored_fault
from vlm3.scenes.rows import SCHEMA, table_to_frames
from vlm3.scenes.schema import Frame
from vlm3.scenes.sharded import BOX_COLUMNS, DEPTH_COLUMNS, PAIR_COLUMNS, ColumnSet, ShardedSource
from vlm3.seeds import derive_seed
from vlm3.storage.counters import StorageUse, storage_use
from vlm3.storage.read_ahead import read_ahead
from vlm3.storage.split import Split
from vlm3.stream.parcels import Cost, EncodedParcel
from vlm3.stream.quarantine import Fault, FaultKind
from vlm3.views.pair_choice import choose_pair
from vlm3.views.pairs import FramePair, clip_pairs
from vlm3.views.sample import regions_in_view
from vlm3.views.unify import UnifyPolicy, unified_camera

log = get_logger(__name__)
Visit = tuple[int, int, int]
"""(component, visit, clip), shared by consecutive samples of a component from one clip."""


@dataclass(frozen=True, slots=True)
class Clip:
    """The parts of a clip that its component's task needs."""

    rows: pa.Table
    """One row per frame."""
    pairs: tuple[FramePair, ...] = ()
    """Pairs of frames that see enough of the same; only for tasks on pairs."""


@dataclass(frozen=True, slots=True)
class Component:
    """One (source, task) of the mixture."""

    name: str
    source: ShardedSource
    task: AnyTask
    policy: UnifyPolicy

    @property
    def columns(self) -> ColumnSet:
        """Columns that the task needs."""
        if self.task.views == 2:
            return PAIR_COLUMNS
        return BOX_COLUMNS if self.task.asks_about is Labels.BOXES else DEPTH_COLUMNS

    def read(self, clip: int) -> Clip:
        """A clip with the columns that the task needs. Raises the errors of `ShardedSource.read_table`."""
        rows = self.source.read_table(Split.TRAIN, clip, self.columns)
        if self.task.asks_about is Labels.BOXES:
            return Clip(_with_boxes(rows, self.policy))
        if self.task.views == 1:
            return Clip(rows)
        pointed = self.task.asks_about is Labels.POINTS
        return Clip(rows, tuple(pair for pair in _pairs(rows) if not (pair.pose_only and pointed)))

    def pick(self, clip: Clip, epoch: int, slot: int, visit_seed: int) -> tuple[pa.Table, float]:
        """The rows of an element's frames, and the overlap of a pair, NaN for a single view.

        Raises:
            DataError: the task needs a pair, or a view with boxes, and the clip has none.
        """
        if not clip.rows.num_rows:
            raise DataError("no frame of the clip has a box to ask about, where images are cut to the grid")
        if self.task.views == 1:
            # Each visit continues where the clip's previous visit ended, so that every frame is shown.
            return clip.rows.slice((epoch * self.source.slots + slot) % clip.rows.num_rows, 1), math.nan
        chosen = choose_pair(clip.pairs, slot, visit_seed)
        return clip.rows.take(pa.array([chosen.view1, chosen.view2])), chosen.overlap


@dataclass(frozen=True, slots=True)
class StoredSample:
    """The sample at a position, with its frames as they are stored."""

    attempt: int
    seed: int
    frames: pa.Table
    """One row per view."""
    overlap: float
    """Overlap of a pair, NaN for a single view."""


@dataclass(frozen=True, slots=True)
class ClipReader:
    """Reads the samples that a plan places at positions."""

    components: tuple[Component, ...]
    ahead: int
    """Number of clips read ahead, each in a thread, to hide the store's latency."""

    def parcels(self, plan: MixturePlan, groups: Sequence[NDArray[np.int64]]) -> Iterator[EncodedParcel]:
        """One parcel for each group of positions, in order.

        Args:
            plan: a plan that has samples at all of these positions.
            groups: (N,) ascending positions of each parcel, ascending from parcel to parcel.

        Raises:
            DataError: a shard is missing, or a sample and all of its `MAX_ATTEMPTS` replacements are bad.
            StorageError: the store does not answer; this tells nothing about the data, so nothing is quarantined.
        """
        if not groups:
            return
        positions = np.concatenate(groups)
        draws = _draws(plan, positions)
        component = draws.component
        keys = list(zip(component.tolist(), draws.visit.tolist(), draws.clip.tolist(), strict=True))
        last_use = {key: index for index, key in enumerate(keys)}
        order = list(dict.fromkeys(keys))
        clips: dict[Visit, Clip | Fault] = {}
        used, started = storage_use(), time.perf_counter()
        with closing(read_ahead((partial(self._read, key[0], key[2]) for key in order), self.ahead)) as arriving:
            index = 0
            for group in groups:
                samples: list[StoredSample] = []
                faults: list[Fault] = []
                for position in group.tolist():
                    key = keys[index]
                    if key not in clips:
                        # Clips arrive in order of first use, so the next one is the one needed here.
                        clips[key] = next(arriving)
                    own = _own(draws, index)
                    stored, more = self._first_good(plan, position, own, clips[key])
                    if stored is None:
                        raise used_up(more)
                    samples.append(stored)
                    faults += more
                    if last_use[key] == index:
                        del clips[key]
                    index += 1
                now = storage_use()
                yield EncodedParcel(
                    group,
                    component[index - len(group) : index],
                    np.array([sample.attempt for sample in samples], np.int64),
                    np.array([sample.seed for sample in samples], np.uint64),
                    np.array([sample.frames.num_rows for sample in samples], np.int64),
                    np.array([sample.overlap for sample in samples], np.float64),
                    self._together([sample.frames for sample in samples]),
                    tuple(faults),
                    _cost(now.since(used), time.perf_counter() - started),
                )
                # Bytes read ahead while the caller handles this parcel count for the next one; the time does not.
                used, started = now, time.perf_counter()

    def replacement(
        self, plan: MixturePlan, position: int, after_attempt: int
    ) -> tuple[StoredSample | None, list[Fault]]:
        """The next good sample for a position whose sample of `after_attempt` is bad, and the faults found on the way.

        The sample is None if all `MAX_ATTEMPTS` are used up. Raises the errors of `parcels` for missing shards and the
        store.
        """
        faults: list[Fault] = []
        for attempt in range(after_attempt + 1, MAX_ATTEMPTS + 1):
            draw = plan.sample(position, attempt)
            found = self._sample(plan, draw, self._read(draw.component, draw.clip))
            if isinstance(found, StoredSample):
                return found, faults
            faults.append(found)
        return None, faults

    def _first_good(
        self, plan: MixturePlan, position: int, own: Draw, clip: Clip | Fault
    ) -> tuple[StoredSample | None, list[Fault]]:
        found = self._sample(plan, own, clip)
        if isinstance(found, StoredSample):
            return found, []
        stored, more = self.replacement(plan, position, 0)
        return stored, [found, *more]

    def _sample(self, plan: MixturePlan, draw: Draw, clip: Clip | Fault) -> StoredSample | Fault:
        """The stored sample of a draw, or the fault that makes it unusable."""
        if isinstance(clip, Fault):
            return replace(clip, position=draw.position, attempt=draw.attempt)
        component = self.components[draw.component]
        try:
            paired = component.task.views == 2
            visit_seed = derive_seed(plan.seed, "pairs", component.name, draw.visit, draw.clip) if paired else 0
            rows, overlap = component.pick(clip, draw.epoch, draw.slot, visit_seed)
        except DataError as error:
            item, kind = f"clip {draw.clip}", type(error).__name__
            return Fault(draw.position, draw.attempt, component.name, item, FaultKind.QUESTION, kind, str(error))
        return StoredSample(draw.attempt, draw.seed, rows, overlap)

    def _together(self, frames: Sequence[pa.Table]) -> pa.Table:
        """All rows in one chunk, with the same schema in all parcels: columns a row's task does not read are null."""
        read = {component.columns for component in self.components}
        if len(read) == 1:
            return pa.concat_tables(frames).combine_chunks()
        names = set().union(*read)
        columns = pa.schema([field for field in SCHEMA if field.name in names]).empty_table()
        return pa.concat_tables([columns, *frames], promote_options="default").combine_chunks()

    def _read(self, number: int, clip: int) -> Clip | Fault:
        """A clip of a component, or the fault that makes its bytes unreadable."""
        component = self.components[number]
        try:
            return component.read(clip)
        except DamagedError as error:
            log.warning("%s, clip %d is damaged: %s", component.name, clip, error)
            kind = type(error.__cause__ or error).__name__
            return Fault(-1, 0, component.name, f"clip {clip}", FaultKind.CLIP, kind, str(error))


def used_up(faults: Sequence[Fault]) -> DataError:
    """The error for a position of which all attempts are bad."""
    last = faults[-1]
    return DataError(
        f"position {last.position}: {MAX_ATTEMPTS + 1} samples in a row of {last.component} are bad, the last:"
        f" {last.item}: {last.reason}; check the source with jobs/doctor.py, or give {last.component} no weight"
    )


def _draws(plan: MixturePlan, positions: NDArray[np.int64]) -> DrawBatch:
    """The plan's own samples at ascending positions."""
    stretches = np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1)
    parts = [plan.draws(int(part[0]), int(part[-1]) + 1) for part in stretches if len(part)]
    names = [field.name for field in fields(DrawBatch)]
    return DrawBatch(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _own(draws: DrawBatch, index: int) -> Draw:
    return Draw(**{field.name: getattr(draws, field.name)[index].item() for field in fields(DrawBatch)}, attempt=0)


def _with_boxes(rows: pa.Table, policy: UnifyPolicy) -> pa.Table:
    """Rows whose unified image shows a box; no image is decoded. Rows that are no frames stay, to be reported later."""
    kept = []
    for frame in stored_frames(rows.drop_columns("encoded_image")):
        if isinstance(frame, Exception):
            kept.append(True)
            continue
        regions = [box.region_px for box in frame.boxes or () if box.region_px is not None]
        try:
            shown = regions_in_view(regions, frame.camera, unified_camera(frame.camera, policy))
        except DataError:
            kept.append(True)  # reported when the image is unified
        else:
            kept.append(any(shown))
    return rows.filter(pa.array(kept, pa.bool_()))


def _pairs(rows: pa.Table) -> tuple[FramePair, ...]:
    """Pairs of a clip's frames without faults; no image is decoded."""
    numbers, sound = [], []
    for number, frame in enumerate(stored_frames(rows.drop_columns("encoded_image"))):
        reason = str(frame) if isinstance(frame, Exception) else stored_fault(frame)
        if reason is not None or isinstance(frame, Exception):
            place = (rows["scene"][number].as_py(), rows["frame"][number].as_py())
            log.warning("%s/%s is in no pair: %s", *place, reason)
        else:
            numbers.append(number)
            sound.append(frame)
    return tuple(replace(p, first=numbers[p.first], second=numbers[p.second]) for p in clip_pairs(sound))


def stored_frames(table: pa.Table) -> list[Frame | Exception]:
    """The frame of each row, or the error why the row is not a frame."""
    try:
        return list(table_to_frames(table))
    except (ValueError, TypeError, AttributeError) as error:
        if table.num_rows == 1:
            return [error]
        return [frame for i in range(table.num_rows) for frame in stored_frames(table.slice(i, 1))]


def _cost(used: StorageUse, seconds: float) -> Cost:
    return Cost(used.requests, used.bytes_read, sum(used.retries.values()), seconds)
