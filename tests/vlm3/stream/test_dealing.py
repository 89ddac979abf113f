"""Every position of a run is dealt to exactly one parcel, and every rank gets its own part of each step."""

import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vlm3.errors import ConfigError
from vlm3.mixture.ledger import Ledger
from vlm3.stream.dealing import MAX_PARCEL_ROWS, Dealing, StepShape, split_rows


@st.composite
def shapes(draw: st.DrawFn) -> StepShape:
    world, micro = draw(st.integers(1, 7)), draw(st.integers(1, 9))
    batch = draw(st.integers(world, 400))
    try:
        return StepShape(batch, world, micro)
    except ConfigError:
        assume(False)
        raise


@st.composite
def dealings(draw: st.DrawFn) -> Dealing:
    """A run that was interrupted after some steps whose positions came in any order."""
    shape = draw(shapes())
    steps, done = draw(st.integers(1, 6)), 0
    total = steps * shape.global_batch
    done = draw(st.integers(0, steps))
    order = np.random.default_rng(draw(st.integers(0, 99))).permutation(total)
    ledger = Ledger.empty().add(order[: done * shape.global_batch])
    return Dealing(ledger.remaining(total), shape)


@given(dealings())
def test_parcels_hold_every_remaining_position_once_and_in_order(dealing: Dealing) -> None:
    parcels = [dealing.positions(number) for number in range(dealing.parcels)]
    dealt = np.concatenate([np.empty(0, np.int64), *parcels])
    expected = np.concatenate([np.empty(0, np.int64), *[np.arange(a, b) for a, b in dealing.remaining]])
    assert np.array_equal(dealt, expected)
    assert all(1 <= len(parcel) <= MAX_PARCEL_ROWS for parcel in parcels)


@given(dealings())
def test_dealt_in_turn_a_rank_gets_as_many_parcels_and_enough_rows_for_its_micro_batches(dealing: Dealing) -> None:
    shape = dealing.shape
    assert dealing.parcels == dealing.steps * shape.world_size * shape.parcels
    for step in range(dealing.steps):
        first = step * shape.world_size * shape.parcels
        numbers = range(first, first + shape.world_size * shape.parcels)
        rows = [0] * shape.world_size
        for number in numbers:
            rows[number % shape.world_size] += len(dealing.positions(number))
        assert sum(rows) == shape.global_batch
        assert max(rows) - min(rows) <= 1
        if shape.even:
            assert len({len(dealing.positions(number)) for number in numbers}) == 1
        for count in rows:
            sizes = [part.stop - part.start for part in split_rows(count, shape.micro_batches)]
            assert sum(sizes) == count and min(sizes) >= 1 and max(sizes) <= shape.micro_batch


@given(dealings(), st.integers(1, 2000))
def test_ranges_cover_the_parcels_in_order(dealing: Dealing, positions: int) -> None:
    found = [parcel for number in range(dealing.ranges(positions)) for parcel in dealing.parcels_of(number, positions)]
    assert len(found) == dealing.parcels
    assert all(np.array_equal(found[n], dealing.positions(n)) for n in range(dealing.parcels))


@given(dealings(), st.integers(1, 7))
def test_another_number_of_ranks_deals_the_same_positions_to_each_step(dealing: Dealing, world: int) -> None:
    batch = dealing.shape.global_batch
    assume(world <= batch)
    other = Dealing(dealing.remaining, StepShape(batch, world, batch))

    def steps(cut: Dealing) -> list[list[int]]:
        positions = [p for number in range(cut.parcels) for p in cut.positions(number).tolist()]
        return [positions[start : start + batch] for start in range(0, len(positions), batch)]

    assert steps(dealing) == steps(other)


def test_a_run_of_80_million_samples_is_dealt_without_a_list_of_them() -> None:
    dealing = Dealing(((0, 2816 * 28_000),), StepShape(2816, 64, 8))
    assert dealing.parcels == 28_000 * 64
    assert dealing.positions(dealing.parcels - 1)[-1] == 2816 * 28_000 - 1
    assert len(pickle.dumps(dealing)) < 500
    again = pickle.loads(pickle.dumps(dealing))
    assert np.array_equal(again.positions(12345), dealing.positions(12345))


@pytest.mark.parametrize(("batch", "world", "micro"), [(2, 3, 1), (16, 3, 1), (7, 4, 1)])
def test_a_rank_that_would_have_an_empty_micro_batch_is_refused_with_numbers_that_do(
    batch: int, world: int, micro: int
) -> None:
    with pytest.raises(ConfigError, match=r"use train\.global_batch") as refusal:
        StepShape(batch, world, micro)
    good = int(str(refusal.value).split("use train.global_batch ")[1].split(" or ")[0])
    StepShape(good, world, micro)


def test_what_remains_must_be_whole_steps() -> None:
    with pytest.raises(ValueError, match="whole steps"):
        Dealing(((0, 17),), StepShape(8, 1, 8))


def test_nothing_remains_after_the_last_step() -> None:
    done = Dealing((), StepShape(8, 2, 4))
    assert (done.steps, done.parcels, done.ranges(2048)) == (0, 0, 0)
