"""The training stream as a Ray Data graph: the plan mixes, Ray Data executes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import ray.data

from pipelines.samples import SampleBuilder
from vlm3.mixture.ledger import Ledger
from vlm3.tokens.batch import StepRow

MAX_BLOCK_ROWS = 256


@dataclass(frozen=True)
class RangeReader:
    """Turns range numbers into blocks of rows; what a Ray task runs."""

    builder: SampleBuilder
    ranges: tuple[tuple[int, int], ...]
    """Positions still to be consumed, as [start, stop) intervals."""
    block_rows: int

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Blocks of the ranges numbered in column `id`."""
        for number in batch.column("id").to_pylist():
            start, stop = self.block(number)
            yield rows_to_table(list(self.builder.rows(start, stop)))

    def block(self, number: int) -> tuple[int, int]:
        """[start, stop) of the block with this number, counted over all ranges."""
        for start, stop in self.ranges:
            blocks = -(-(stop - start) // self.block_rows)
            if number < blocks:
                first = start + number * self.block_rows
                return first, min(first + self.block_rows, stop)
            number -= blocks
        raise IndexError(number)

    @property
    def blocks(self) -> int:
        """Number of blocks over all ranges."""
        return sum(-(-(stop - start) // self.block_rows) for start, stop in self.ranges)


def block_rows(rows_per_rank: int) -> int:
    """Rows of a block: the largest divisor of a rank's rows per step up to `MAX_BLOCK_ROWS`.

    Blocks that divide a rank's share let Ray's splitter, which deals blocks out in turn, give each rank whole blocks of
    the same step.
    """
    return max(size for size in range(1, min(rows_per_rank, MAX_BLOCK_ROWS) + 1) if rows_per_rank % size == 0)


def training_stream(
    builder: SampleBuilder, ledger: Ledger, stop: int, rows_per_rank: int, cpus_per_task: float
) -> ray.data.Dataset:
    """Rows of every position below `stop` that the ledger does not hold, in order of position.

    Columns: position, component, attempt, input_ids, loss_mask, height, width, image (uint8 RGB bytes).
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    reader = RangeReader(builder, ledger.remaining(stop), block_rows(rows_per_rank))
    ids = ray.data.range(reader.blocks, override_num_blocks=reader.blocks)
    return ids.map_batches(
        reader, batch_size=None, batch_format="pyarrow", num_cpus=cpus_per_task, zero_copy_batch=True
    )


def rows_to_table(rows: list[StepRow]) -> pa.Table:
    """An Arrow block of training rows; pixels travel as uint8 bytes."""
    return pa.table(
        {
            "position": pa.array([row.position for row in rows], pa.int64()),
            "component": pa.array([row.component for row in rows], pa.int32()),
            "attempt": pa.array([row.attempt for row in rows], pa.int32()),
            "input_ids": _ragged([row.input_ids for row in rows], pa.int32()),
            "loss_mask": _ragged([row.loss_mask.view(np.uint8) for row in rows], pa.uint8()),
            "height": pa.array([row.image.shape[0] for row in rows], pa.int32()),
            "width": pa.array([row.image.shape[1] for row in rows], pa.int32()),
            "image": pa.array([np.ascontiguousarray(row.image).data for row in rows], pa.large_binary()),
        }
    )


def table_to_rows(table: pa.Table) -> list[StepRow]:
    """Rows of a block; their arrays are views of the block's memory."""
    rows = []
    for batch in table.combine_chunks().to_batches():
        column = {name: batch.column(name) for name in batch.schema.names}
        scalars = {name: column[name].to_numpy() for name in ("position", "component", "attempt", "height", "width")}
        ids, masks = _slices(column["input_ids"]), _slices(column["loss_mask"])
        for i in range(batch.num_rows):
            pixels = np.frombuffer(column["image"][i].as_buffer(), np.uint8)
            rows.append(
                StepRow(
                    position=int(scalars["position"][i]),
                    component=int(scalars["component"][i]),
                    attempt=int(scalars["attempt"][i]),
                    input_ids=ids[i],
                    loss_mask=masks[i].view(np.bool_),
                    image=pixels.reshape(scalars["height"][i], scalars["width"][i], 3),
                )
            )
    return rows


def _ragged(arrays: list[np.ndarray], kind: pa.DataType) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum([len(array) for array in arrays])]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(arrays), kind))


def _slices(column: pa.ListArray) -> list[np.ndarray]:
    offsets = column.offsets.to_numpy()
    values = column.values.to_numpy()
    return [values[offsets[i] : offsets[i + 1]] for i in range(len(column))]
