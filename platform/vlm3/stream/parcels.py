"""Parcels travel between the stages of the stream as Arrow blocks of one row, so that Ray never cuts or joins them.

Their content is nested columns whose buffers are used in place in the object store; nothing is pickled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vlm3.stream.pixel_memory import PixelMemory
from vlm3.stream.quarantine import SCHEMA as FAULTS
from vlm3.stream.quarantine import Fault, faults_to_table, table_to_faults
from vlm3.tokens.step_row import StepRow

_memory = PixelMemory()
_DRAWS = pa.schema(
    [
        ("position", pa.int64()),
        ("component", pa.int32()),
        ("attempt", pa.int32()),
        ("seed", pa.uint64()),
        ("views", pa.int32()),
        ("overlap", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of making a parcel; costs can be added."""

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
    """Samples as they are stored: their draws, and their frames with encoded images."""

    position: NDArray[np.int64]
    component: NDArray[np.int64]
    attempt: NDArray[np.int64]
    seed: NDArray[np.uint64]
    views: NDArray[np.int64]
    """Number of frames of the sample: 1, or 2 for a pair."""
    overlap: NDArray[np.float64]
    """Symmetric covisibility of a pair, NaN for a single view. All fields so far are (N,)."""
    frames: pa.Table
    """Rows of shards: the frames of all samples, one sample after the other."""
    faults: tuple[Fault, ...] = ()
    cost: Cost = field(default_factory=Cost)

    def to_block(self) -> pa.Table:
        """A block of one row."""
        columns = (self.position, self.component, self.attempt, self.seed, self.views, self.overlap)
        draws = [pa.array(column, kind.type) for column, kind in zip(columns, _DRAWS, strict=True)]
        return _block({"draws": pa.table(draws, _DRAWS), "frames": self.frames}, self.faults, self.cost)

    @classmethod
    def from_block(cls, block: pa.Table) -> "EncodedParcel":
        """The parcel in a block; its frames are views of the block's memory."""
        draws = _nested(block, "draws")
        position, component, attempt, seed, views, overlap = (draws[name].to_numpy() for name in _DRAWS.names)
        return cls(position, component, attempt, seed, views, overlap, _nested(block, "frames"), *_footing(block))


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
                "images": pa.array([len(row.images) for row in rows], pa.int32()),
            }
        )
        return _block({"rows": table, "images": _images(rows)}, self.faults, self.cost)

    @classmethod
    def from_block(cls, block: pa.Table) -> "RowParcel":
        """The parcel in a block; arrays of its rows are views of the block's memory."""
        table = _nested(block, "rows")
        column = {name: table[name].chunk(0) for name in table.column_names}
        position, component, attempt, counts = (
            column[name].to_pylist() for name in ("position", "component", "attempt", "images")
        )
        ids, masks = _slices(column["input_ids"]), _slices(column["loss_mask"])
        images = iter(_pixels(_nested(block, "images")))
        rows = tuple(
            StepRow(p, c, a, i, m.view(np.bool_), tuple(islice(images, count)))
            for p, c, a, i, m, count in zip(position, component, attempt, ids, masks, counts, strict=True)
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
    """A whole table as one value; nothing is copied if it has one chunk."""
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


def _images(rows: Sequence[StepRow]) -> pa.Table:
    images = [image for row in rows for image in row.images]
    offsets = np.cumsum([0, *(image.nbytes for image in images)], dtype=np.int64)
    pixels = _memory.take(int(offsets[-1]))
    for image, (start, stop) in zip(images, pairwise(offsets.tolist()), strict=True):
        pixels[start:stop].reshape(image.shape)[:] = image
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(pixels)]
    return pa.table(
        {
            "height": pa.array([image.shape[0] for image in images], pa.int32()),
            "width": pa.array([image.shape[1] for image in images], pa.int32()),
            "pixels": pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(images), buffers),
        }
    )


def _pixels(images: pa.Table) -> list[np.ndarray]:
    """(H, W, 3) view of each image's bytes: taking a value out of the Arrow array would copy it."""
    column = images["pixels"].chunk(0)
    _, offsets, data = column.buffers()
    borders = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    pixels = np.frombuffer(data, np.uint8)
    sizes = zip(images["height"].to_pylist(), images["width"].to_pylist(), strict=True)
    return [
        pixels[start:stop].reshape(height, width, 3)
        for (start, stop), (height, width) in zip(pairwise(borders.tolist()), sizes, strict=True)
    ]


def _slices(column: pa.ListArray) -> list[np.ndarray]:
    offsets = column.offsets.to_numpy()
    values = column.values.to_numpy()
    return [values[offsets[i] : offsets[i + 1]] for i in range(len(column))]
