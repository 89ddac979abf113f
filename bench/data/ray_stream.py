"""The platform's stream as one consumer sees it: the only place of these benchmarks that knows how it is built."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from textured_rooms import Planned

from vlm3.train.parcels import RowParcel


def connect(cores: int) -> None:
    """A private Ray on loopback with as many logical CPUs as there are cores."""
    from pipelines.cluster import connect as connect_to_ray

    connect_to_ray(num_cpus=cores)


def stream_parcels(
    planned: Planned, stop: int, rows: int, *, world_size: int = 1, deterministic: bool = False
) -> Iterator[RowParcel]:
    """Parcels of positions [0, stop), in the order in which Ray Data delivers them; steps of `rows` positions."""
    from pipelines.stream import FixedPlan, training_stream
    from vlm3.mixture.dealing import Dealing, StepShape
    from vlm3.train.stream_config import StreamConfig

    dealing = Dealing(((0, stop // rows * rows),), StepShape(rows, world_size, rows))
    config = StreamConfig(deterministic=deterministic)
    dataset = training_stream(planned.builder, dealing, FixedPlan(planned.plan), config)
    blocks = dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2)
    for block in blocks:
        yield RowParcel.from_block(block)


def mixed_components(weights: Sequence[float], samples: int, rows: int) -> NDArray[np.int64]:
    """(samples,) component of each row that Ray Data's own `mix` delivers, every component in blocks of `rows` rows."""
    import ray.data

    parts = []
    for component, weight in enumerate(weights):
        # Half as much again as is due, so that none runs dry.
        blocks = 4 + round(1.5 * samples * weight / sum(weights) / rows)
        numbers = ray.data.range(blocks * rows, override_num_blocks=blocks)
        parts.append(numbers.map_batches(_Labelled(component), batch_size=None, batch_format="pyarrow"))
    found: list[NDArray[np.int64]] = []
    for table in parts[0].mix(*parts[1:], weights=list(weights)).iter_batches(batch_size=None, batch_format="pyarrow"):
        found.append(table["component"].to_numpy())
        if sum(map(len, found)) >= samples:
            break
    return np.concatenate(found)[:samples]


@dataclass(frozen=True, slots=True)
class _Labelled:
    component: int

    def __call__(self, table: pa.Table) -> pa.Table:
        return pa.table({"component": np.full(table.num_rows, self.component, np.int64)})
