"""The questions of a benchmark as a table, which says what a file of predictions must answer and in which order."""

from collections.abc import Sequence
from dataclasses import asdict

import pyarrow as pa

from vlm3.benchmarks.items import Benchmark
from vlm3.tasks import SCORED

SCHEMA = pa.schema(
    [
        ("item", pa.string()),
        ("task", pa.string()),
        ("images", pa.list_(pa.string())),
        ("points_px", pa.list_(pa.float64())),
        ("kind", pa.string()),
        ("questions", pa.list_(pa.string())),
        ("regions_px", pa.list_(pa.list_(pa.float64()))),
    ]
)
"""`points_px`: x, y of each point in the original (first) image; `kind`: depth kind of the labels; `regions_px`: x0,
y0, x1, y1 of the regions of each question."""


def list_items(benchmark: Benchmark, rows: Sequence[str]) -> pa.Table:
    """A table with one row for each item and task in the given rows of a benchmark.

    Raises:
        DataError: a row of the benchmark is bad.
    """
    listed = [
        {"item": item.id, "task": task, **asdict(found)}
        for row in rows
        for item in benchmark.read(row)
        for task, room in SCORED.items()
        if (found := room.listed(item)) is not None
    ]
    return pa.Table.from_pylist(listed, SCHEMA)
