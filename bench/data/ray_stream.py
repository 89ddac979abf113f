"""The platform's stream as one consumer sees it: the only place of these benchmarks that knows how it is built."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from textured_rooms import Planned

from vlm3.stream.config import StreamConfig
from vlm3.stream.dealing import Dealing, StepShape
from vlm3.stream.parcels import RowParcel

if TYPE_CHECKING:
    # Its import sets Ray up, which `pipelines` must do first.
    import ray.data

Steps = NDArray[np.int64]


def connect(cores: int) -> None:
    """A private Ray on loopback with as many logical CPUs as there are cores."""
    from pipelines.cluster import connect as connect_to_ray

    connect_to_ray(num_cpus=cores)


def stream_parcels(planned: Planned, stop: int, rows: int) -> Iterator[RowParcel]:
    """Parcels of positions [0, stop), in the order in which Ray Data delivers them; steps of `rows` positions."""
    blocks = _stream(planned, Dealing(((0, stop // rows * rows),), StepShape(rows, 1, rows)), StreamConfig())
    for block in blocks.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2):
        yield RowParcel.from_block(block)


def planned_steps(planned: Planned, stop: int, step: int, world_size: int, *, deterministic: bool) -> Steps:
    """(steps, step) component of each sample of each optimizer step, as `world_size` workers receive them."""
    shape = StepShape(step, world_size, step // world_size)
    dataset = _stream(planned, Dealing(((0, stop // step * step),), shape), StreamConfig(deterministic=deterministic))

    def components(block: pa.Table) -> NDArray[np.int64]:
        return np.array([row.component for row in RowParcel.from_block(block).rows], np.int64)

    return _received(dataset, stop, step, world_size, components)


def mixed_steps(weights: Sequence[float], stop: int, rows: int, step: int, world_size: int) -> Steps:
    """The same of Ray Data's own `mix`, every component in blocks of `rows` rows."""
    return _received(_mix(weights, stop, rows), stop, step, world_size, lambda block: block["component"].to_numpy())


def mixed_components(weights: Sequence[float], samples: int, rows: int) -> NDArray[np.int64]:
    """(samples,) component of each row that Ray Data's own `mix` delivers to one consumer."""
    found: list[NDArray[np.int64]] = []
    for table in _mix(weights, samples, rows).iter_batches(batch_size=None, batch_format="pyarrow"):
        found.append(table["component"].to_numpy())
        if sum(map(len, found)) >= samples:
            break
    return np.concatenate(found)[:samples]


def _stream(planned: Planned, dealing: Dealing, config: StreamConfig) -> "ray.data.Dataset":
    from pipelines.stream import FixedPlan, training_stream

    return training_stream(planned.builder, dealing, FixedPlan(planned.plan), config)


def _mix(weights: Sequence[float], samples: int, rows: int) -> "ray.data.Dataset":
    import ray.data

    parts = []
    for component, weight in enumerate(weights):
        # Half as much again as is due, so that none runs dry.
        blocks = 4 + round(1.5 * samples * weight / sum(weights) / rows)
        numbers = ray.data.range(blocks * rows, override_num_blocks=blocks)
        parts.append(numbers.map_batches(_Labelled(component), batch_size=None, batch_format="pyarrow"))
    mixed = parts[0].mix(*parts[1:], weights=list(weights))
    mixed.context.enable_progress_bars = False
    return mixed


def _received(
    dataset: "ray.data.Dataset",
    stop: int,
    step: int,
    world_size: int,
    components: Callable[[pa.Table], NDArray[np.int64]],
) -> Steps:
    """Split as Ray Train splits, every worker following its part; step k is the k-th share of each of them."""
    share, steps = step // world_size, stop // step

    def follow(part: "ray.data.DataIterator") -> NDArray[np.int64]:
        found: list[NDArray[np.int64]] = []
        for block in part.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2):
            found.append(components(block))
            if sum(map(len, found)) >= steps * share:
                break
        return np.concatenate(found)[: steps * share].reshape(steps, share)

    with ThreadPoolExecutor(world_size) as workers:
        return np.concatenate(list(workers.map(follow, dataset.streaming_split(world_size, equal=True))), axis=1)


@dataclass(frozen=True, slots=True)
class _Labelled:
    component: int

    def __call__(self, table: pa.Table) -> pa.Table:
        return pa.table({"component": np.full(table.num_rows, self.component, np.int64)})
