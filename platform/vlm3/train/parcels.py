"""What travels between the stages of the stream, as Arrow blocks of one row: Ray never cuts or joins parcels.

Everything inside is nested columns whose buffers are used where they lie in the object store; nothing is pickled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vlm3.mixture.quarantine import SCHEMA as FAULTS
from vlm3.mixture.quarantine import Fault, faults_to_table, table_to_faults
from vlm3.tokens.step_row import StepRow

_DRAWS = pa.schema(
    [("position", pa.int64()), ("component", pa.int32()), ("attempt", pa.int32()), ("seed", pa.uint64())]
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a parcel cost to make; adds up."""

    requests: int = 0
    bytes_read: int = 0
    retries: int = 0
    read_s: float = 0.0
    decode_s: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.requests + other.requests,
            self.bytes_read + other.bytes_read,
            self.retries + other.retries,
            self.read_s + other.read_s,
            self.decode_s + other.decode_s,
        )


@dataclass(frozen=True, slots=True, eq=False)
class EncodedParcel:
    """Samples as they are stored: which, and their frames with encoded images."""

    position: NDArray[np.int64]
    component: NDArray[np.int64]
    attempt: NDArray[np.int64]
    seed: NDArray[np.uint64]
    """(N,) each."""
    frames: pa.Table
    """N rows of shards."""
    faults: tuple[Fault, ...] = ()
    cost: Cost = field(default_factory=Cost)

    def to_block(self) -> pa.Table:
        """A block of one row."""
        columns = (self.position, self.component, self.attempt, self.seed)
        draws = [pa.array(column, kind.type) for column, kind in zip(columns, _DRAWS, strict=True)]
        return _block({"draws": pa.table(draws, _DRAWS), "frames": self.frames}, self.faults, self.cost)

    @classmethod
    def from_block(cls, block: pa.Table) -> "EncodedParcel":
        """The parcel in a block; its frames are views of the block's memory."""
        draws = _nested(block, "draws")
        position, component, attempt, seed = (draws[name].to_numpy() for name in _DRAWS.names)
        return cls(position, component, attempt, seed, _nested(block, "frames"), *_footing(block))


@dataclass(frozen=True, slots=True, eq=False)
class RowParcel:
    """Training rows of one rank and step, or a part of them."""

    rows: tuple[StepRow, ...]
    faults: tuple[Fault, ...] = ()
    cost: Cost = field(default_factory=Cost)

    def to_block(self) -> pa.Table:
        """A block of one row; pixels are uint8."""
        rows = self.rows
        table = pa.table(
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
        return _block({"rows": table}, self.faults, self.cost)

    @classmethod
    def from_block(cls, block: pa.Table) -> "RowParcel":
        """The parcel in a block; arrays of its rows are views of the block's memory."""
        table = _nested(block, "rows")
        column = {name: table[name].chunk(0) for name in table.column_names}
        names = ("position", "component", "attempt", "height", "width")
        position, component, attempt, height, width = (column[name].to_pylist() for name in names)
        ids, masks = _slices(column["input_ids"]), _slices(column["loss_mask"])
        images = _pixels(column["image"])
        rows = tuple(
            StepRow(p, c, a, i, m.view(np.bool_), pixels.reshape(h, w, 3))
            for p, c, a, i, m, pixels, h, w in zip(
                position, component, attempt, ids, masks, images, height, width, strict=True
            )
        )
        return cls(rows, *_footing(block))


def _block(tables: dict[str, pa.Table], faults: Sequence[Fault], cost: Cost) -> pa.Table:
    columns = {name: _one_row(table) for name, table in tables.items()}
    columns["faults"] = _one_row(faults_to_table(faults))
    return pa.table(columns | {name: [getattr(cost, name)] for name in Cost.__dataclass_fields__})


def _footing(block: pa.Table) -> tuple[tuple[Fault, ...], Cost]:
    cost = Cost(**{name: block[name][0].as_py() for name in Cost.__dataclass_fields__})
    return table_to_faults(_nested(block, "faults").cast(FAULTS)), cost


def _one_row(table: pa.Table) -> pa.ListArray:
    """A whole table as one value; nothing is copied when it has one chunk."""
    rows = pa.StructArray.from_arrays(
        [column.combine_chunks() if column.num_chunks != 1 else column.chunk(0) for column in table.columns],
        fields=list(table.schema),
    )
    return pa.LargeListArray.from_arrays(pa.array([0, table.num_rows], pa.int64()), rows)


def _nested(block: pa.Table, name: str) -> pa.Table:
    if block.num_rows != 1:
        raise ValueError(f"expected a block of one parcel, found {block.num_rows} rows")
    column = block[name]
    # Joining chunks copies, even a single one.
    rows = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return pa.Table.from_struct_array(rows.flatten())


def _ragged(arrays: list[np.ndarray], kind: pa.DataType) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum([len(array) for array in arrays])]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(arrays), kind))


def _pixels(column: pa.LargeBinaryArray) -> list[np.ndarray]:
    """Bytes of each image where they lie: taking a value out of the array would copy it."""
    _, offsets, data = column.buffers()
    borders = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    pixels = np.frombuffer(data, np.uint8)
    return [pixels[start:stop] for start, stop in pairwise(borders.tolist())]


def _slices(column: pa.ListArray) -> list[np.ndarray]:
    offsets = column.offsets.to_numpy()
    values = column.values.to_numpy()
    return [values[offsets[i] : offsets[i + 1]] for i in range(len(column))]
