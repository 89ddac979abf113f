"""The platform's stream as one consumer sees it: the only place of these benchmarks that knows how it is built."""

from collections.abc import Iterator

import pyarrow as pa

from pipelines.samples import SampleBuilder


def connect(cores: int) -> None:
    """A private Ray on loopback with as many logical CPUs as there are cores."""
    from pipelines.cluster import connect as connect_to_ray

    connect_to_ray(num_cpus=cores)


def stream_tables(builder: SampleBuilder, stop: int, rows: int) -> Iterator[pa.Table]:
    """Tables of about `rows` training rows of positions [0, stop), in the order in which Ray Data delivers them."""
    from pipelines.stream import training_stream
    from vlm3.mixture.ledger import Ledger

    dataset = training_stream(builder, Ledger.empty(), stop, rows, cpus_per_task=1.0)
    yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2)
