"""The training stream as a Ray Data graph: the plan mixes, Ray Data executes.

Two stages: reading waits for the store, and a task takes a long range, so that each clip is fetched once; decoding
works on the CPU, and a task takes one parcel. Between them travel encoded images, an eighth of the bytes of pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
import ray.data

from pipelines.samples import SampleBuilder
from vlm3.mixture.dealing import Dealing, StepShape
from vlm3.mixture.plan import MixturePlan
from vlm3.train.parcels import EncodedParcel
from vlm3.train.stream_config import StreamConfig

MOST_TASKS = 4096
"""Reading tasks of a stream: each costs Ray a moment at its start. A longer run has more ranges a task."""


class PlanOwner(Protocol):
    """Where the plan of a run is kept; picklable."""

    def issue(self, start: int, stop: int) -> MixturePlan:
        """The plan to read positions [start, stop) by, which never changes there from now on."""
        ...

    def plan(self) -> MixturePlan:
        """The plan as it stands."""
        ...


@dataclass(frozen=True, slots=True)
class FixedPlan:
    """A plan that does not change while it is read."""

    fixed: MixturePlan

    def issue(self, start: int, stop: int) -> MixturePlan:
        """The plan."""
        return self.fixed

    def plan(self) -> MixturePlan:
        """The plan."""
        return self.fixed


@dataclass(frozen=True, slots=True)
class RangeReader:
    """The first stage: range numbers in, encoded parcels out."""

    builder: SampleBuilder
    dealing: Dealing
    owner: PlanOwner
    range_positions: int
    """Positions that are issued, and whose clips are read, together."""
    ranges_per_task: int

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Blocks of one parcel each, of the tasks numbered in column `id`."""
        last = self.dealing.ranges(self.range_positions)
        for task in batch["id"].to_pylist():
            first = task * self.ranges_per_task
            for number in range(first, min(first + self.ranges_per_task, last)):
                groups = list(self.dealing.parcels_of(number, self.range_positions))
                plan = self.owner.issue(int(groups[0][0]), int(groups[-1][-1]) + 1)
                for parcel in self.builder.reader.parcels(plan, groups):
                    yield parcel.to_block()


@dataclass(frozen=True, slots=True)
class ParcelDecoder:
    """The second stage: an encoded parcel in, training rows out."""

    builder: SampleBuilder
    owner: PlanOwner

    def __call__(self, block: pa.Table) -> pa.Table:
        """A block of one parcel."""
        return self.builder.build(EncodedParcel.from_block(block), self.owner.plan).to_block()


class DecoderActor:
    """`ParcelDecoder` in a long-lived process of a pool."""

    def __init__(self, decoder: ParcelDecoder) -> None:
        self._decoder = decoder

    def __call__(self, block: pa.Table) -> pa.Table:
        """As the decoder."""
        return self._decoder(block)


def training_stream(
    builder: SampleBuilder, dealing: Dealing, owner: PlanOwner, config: StreamConfig
) -> ray.data.Dataset:
    """The parcels of a dealing; dealt out in turn they are what each rank trains on.

    In order, step k takes the k-th G positions. Otherwise parcels come as they are ready, and a step takes any G that
    remain.
    """
    ranges = dealing.ranges(config.read.positions)
    ranges_per_task = max(1, -(-ranges // MOST_TASKS))
    tasks = -(-ranges // ranges_per_task)
    labels = config.decode.node_labels or None
    decoder = ParcelDecoder(builder, owner)
    encoded = ray.data.range(tasks, override_num_blocks=tasks).map_batches(
        RangeReader(builder, dealing, owner, config.read.positions, ranges_per_task),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=config.read.cpus,
        label_selector=labels,
    )
    if config.decode.actors is None:
        stream = encoded.map_batches(
            decoder, batch_size=None, batch_format="pyarrow", num_cpus=config.decode.cpus, label_selector=labels
        )
    else:
        stream = encoded.map_batches(
            DecoderActor,
            fn_constructor_args=(decoder,),
            compute=ray.data.ActorPoolStrategy(size=config.decode.actors),
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


def in_order(config: StreamConfig, shape: StepShape) -> bool:
    """Whether parcels must come in their order: asked for, or needed since ranks take different numbers of them."""
    return config.deterministic or not shape.even
