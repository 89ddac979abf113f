"""The training stream as a Ray Data graph: the plan mixes, Ray Data executes.

There are two stages. Reading waits for the store; each task takes a long range, so that each clip is fetched once.
Decoding works on the CPU; each task takes one parcel. Between the stages images stay encoded, an eighth of the bytes of
their pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import pyarrow as pa
import ray.data
from ray.data.block import BlockMetadata
from ray.data.context import DataContext

from pipelines.cluster import labelled_cpus
from vlm3.heap import keep_freed_memory
from vlm3.mixture.plan import MixturePlan
from vlm3.stream.config import StreamConfig
from vlm3.stream.dealing import Dealing, StepShape
from vlm3.stream.parcels import EncodedParcel
from vlm3.stream.samples import SampleBuilder

MOST_TASKS = 4096
"""Largest number of reading tasks of a stream: each costs Ray time at the start. In a longer run a task reads several
ranges."""
CPUS_PER_READER = 4
"""One reader can feed about eight decoders; there are twice as many as that needs, for stores that answer slowly."""


class PlanOwner(Protocol):
    """Keeps the plan of a run; picklable."""

    def issue(self, start: int, stop: int) -> MixturePlan:
        """The plan by which to read positions [start, stop); from now on it never changes there."""
        ...

    def plan(self) -> MixturePlan:
        """The current plan."""
        ...


@dataclass(frozen=True, slots=True)
class FixedPlan:
    """A plan that does not change while it is read."""

    fixed: MixturePlan

    def issue(self, start: int, stop: int) -> MixturePlan:
        """The fixed plan, whatever the positions."""
        return self.fixed

    def plan(self) -> MixturePlan:
        """The fixed plan."""
        return self.fixed


@dataclass(frozen=True, slots=True)
class RangeReader:
    """The first stage: from the number of a task to encoded parcels."""

    builder: SampleBuilder
    dealing: Dealing
    owner: PlanOwner
    range_positions: int
    """Number of positions that are issued together, and whose clips are read together."""

    @property
    def tasks(self) -> int:
        """Number of tasks that together read all positions."""
        return -(-self._ranges // self._ranges_per_task)

    def __call__(self, task: int) -> Iterator[pa.Table]:
        """Yield the parcels of a task, one a block."""
        first = task * self._ranges_per_task
        for number in range(first, min(first + self._ranges_per_task, self._ranges)):
            groups = list(self.dealing.parcels_of(number, self.range_positions))
            plan = self.owner.issue(int(groups[0][0]), int(groups[-1][-1]) + 1)
            for parcel in self.builder.reader.parcels(plan, groups):
                yield parcel.to_block()

    @property
    def _ranges(self) -> int:
        return self.dealing.ranges(self.range_positions)

    @property
    def _ranges_per_task(self) -> int:
        return max(1, -(-self._ranges // MOST_TASKS))


class PlannedSource(ray.data.Datasource):  # type: ignore[misc]  # Ray's class has no types
    """The plan as a Ray Data source: a task for each range, or for a few ranges."""

    def __init__(self, reader: RangeReader) -> None:
        super().__init__()
        self._tasks = reader.tasks
        # Stored once for all tasks; otherwise each task would carry its own copy.
        self._reader = ray.put(reader)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: DataContext | None = None
    ) -> list[ray.data.ReadTask]:
        """All reading tasks, whatever `parallelism` Ray Data asks for."""
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ray.data.ReadTask(partial(_read, self._reader, task), unknown) for task in range(self._tasks)]

    def estimate_inmemory_data_size(self) -> int | None:
        """None: the size is unknown before reading."""
        return None


def _read(reader: ray.ObjectRef[RangeReader], task: int) -> Iterator[pa.Table]:
    yield from ray.get(reader)(task)


@dataclass(frozen=True, slots=True)
class ParcelDecoder:
    """The second stage: from an encoded parcel to training rows."""

    builder: SampleBuilder
    owner: PlanOwner

    def __call__(self, block: pa.Table) -> pa.Table:
        """Decode a block of one parcel into a block of training rows."""
        keep_freed_memory()
        return self.builder.build(EncodedParcel.from_block(block), self.owner.plan).to_block()


class DecoderActor:
    """`ParcelDecoder` in a long-lived process of a pool."""

    def __init__(self, decoder: ParcelDecoder) -> None:
        self._decoder = decoder

    def __call__(self, block: pa.Table) -> pa.Table:
        """Decode a block of one parcel into a block of training rows."""
        return self._decoder(block)


def training_stream(
    builder: SampleBuilder, dealing: Dealing, owner: PlanOwner, config: StreamConfig
) -> ray.data.Dataset:
    """The stream of the decoded parcels of a dealing; dealt out to the ranks in turn, they are the training data.

    If `in_order`, step k takes the k-th G positions. Otherwise parcels come when they are ready, and a step takes any G
    of the remaining positions.
    """
    labels = config.decode.node_labels or None
    # Where no node has the labels yet, as many as if all had them.
    cpus = labelled_cpus(config.decode.node_labels) or labelled_cpus({})
    reader = RangeReader(builder, dealing, owner, config.read.positions)
    # Readers on every CPU would leave none for decoding.
    readers = max(1, min(config.read.tasks or int(cpus) // CPUS_PER_READER, reader.tasks))
    encoded = ray.data.read_datasource(
        PlannedSource(reader),
        num_cpus=config.read.cpus,
        concurrency=readers,
        override_num_blocks=reader.tasks,
        label_selector=labels,
    )
    decoder = ParcelDecoder(builder, owner)
    if config.decode.pool == "tasks":
        stream = encoded.map_batches(
            decoder, batch_size=None, batch_format="pyarrow", num_cpus=config.decode.cpus, label_selector=labels
        )
    else:
        stream = encoded.map_batches(
            DecoderActor,
            fn_constructor_args=(decoder,),
            compute=_pool(config, cpus - readers * config.read.cpus),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=config.decode.cpus,
            label_selector=labels,
        )
    # A block is cut or joined by its bytes: with this bound every row is a block, and a row is a parcel.
    stream.context.target_max_block_size = 1
    stream.context.enable_progress_bars = False
    stream.context.print_on_execution_start = False
    stream.context.execution_options.preserve_order = in_order(config, dealing.shape)
    return stream


def _pool(config: StreamConfig, free_cpus: float) -> ray.data.ActorPoolStrategy:
    """The pool of decoders: of fixed size, or growing with the CPUs that Ray Data finds free."""
    decode = config.decode
    if decode.actors:
        return ray.data.ActorPoolStrategy(size=decode.actors)
    # Ray Data does not know that only labelled nodes count, and would also take the CPUs that readers need there.
    most = max(1, int(free_cpus / decode.cpus)) if decode.node_labels else None
    return ray.data.ActorPoolStrategy(min_size=1, max_size=most)


def in_order(config: StreamConfig, shape: StepShape) -> bool:
    """Whether parcels must come in order: the user asks for it, or they differ in size."""
    return config.deterministic or not shape.even
