"""Parcels survive their blocks, and reading one copies no pixel."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.frames import make_frame
from vlm3.scenes.rows import frames_to_table, table_to_frames
from vlm3.stream.parcels import Cost, EncodedParcel, RowParcel
from vlm3.stream.quarantine import Fault, FaultKind
from vlm3.tokens.step_row import StepRow

FAULT = Fault(7, 1, "rooms/depth", "rooms/a/0", FaultKind.IMAGE, "DataError", "damaged JPEG")
COST = Cost(3, 1000, 1, 0.5, 0.25)


def row(position: int, height: int, width: int, length: int, images: int = 1) -> StepRow:
    rng = np.random.default_rng(position)
    return StepRow(
        position,
        position % 3,
        position % 2,
        rng.integers(0, 1000, length, dtype=np.int32),
        rng.random(length) < 0.3,
        tuple(rng.integers(0, 256, (height, width + n, 3), dtype=np.uint8) for n in range(images)),
    )


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 30), st.integers(1, 2)), min_size=1, max_size=5
    )
)
def test_rows_of_any_size_with_one_image_or_two_survive(sizes: list[tuple[int, int, int, int]]) -> None:
    rows = tuple(row(position, *size) for position, size in enumerate(sizes))
    block = RowParcel(rows, (FAULT,), COST).to_block()
    assert block.num_rows == 1, "Ray must not cut a parcel"
    back = RowParcel.from_block(block)
    assert (back.faults, back.cost) == ((FAULT,), COST)
    for found, given_row in zip(back.rows, rows, strict=True):
        assert (found.position, found.component, found.attempt) == (
            given_row.position,
            given_row.component,
            given_row.attempt,
        )
        assert np.array_equal(found.input_ids, given_row.input_ids)
        assert np.array_equal(found.loss_mask, given_row.loss_mask)
        assert len(found.images) == len(given_row.images)
        assert all(map(np.array_equal, found.images, given_row.images))


def test_pixels_of_a_read_parcel_lie_in_the_blocks_own_memory() -> None:
    block = RowParcel((row(0, 40, 60, 5), row(1, 20, 30, 7))).to_block()
    buffers = [b for b in block["images"].chunk(0).values.field("pixels").buffers() if b is not None]
    low, high = min(b.address for b in buffers), max(b.address + b.size for b in buffers)
    for found in RowParcel.from_block(block).rows:
        assert low <= found.images[0].ctypes.data < high


def test_stored_frames_survive_with_their_draws() -> None:
    frames = [make_frame("a", number) for number in range(3)]
    table = frames_to_table(frames, 0)
    numbers = np.arange(2)
    seeds, views, overlap = np.array([1, 2**64 - 1], np.uint64), np.array([2, 1]), np.array([0.5, np.nan])
    parcel = EncodedParcel(numbers, numbers % 2, numbers * 0, seeds, views, overlap, table, (FAULT,))
    back = EncodedParcel.from_block(parcel.to_block())
    assert back.seed.tolist() == [1, 2**64 - 1] and back.position.tolist() == [0, 1]
    assert back.views.tolist() == [2, 1] and np.array_equal(back.overlap, overlap, equal_nan=True)
    assert [f.encoded_image for f in table_to_frames(back.frames)] == [f.encoded_image for f in frames]
    assert back.faults == (FAULT,)


def test_blocks_of_several_parcels_are_refused() -> None:
    block = RowParcel((row(0, 4, 6, 5),)).to_block()
    with pytest.raises(ValueError, match="one parcel, found 2"):
        RowParcel.from_block(pa.concat_tables([block, block]))


def test_costs_add_up() -> None:
    assert sum([COST, COST], Cost()) == Cost(6, 2000, 2, 1.0, 0.5)
