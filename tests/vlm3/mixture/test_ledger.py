"""The ledger against a plain set of positions."""

import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.errors import CheckpointError
from vlm3.mixture.ledger import Ledger

POSITIONS = st.sets(st.integers(0, 60), max_size=60)


def held(ledger: Ledger, stop: int = 100) -> set[int]:
    """What the ledger holds below `stop`, by its gaps."""
    return set(range(stop)) - {p for start, end in ledger.remaining(stop) for p in range(start, end)}


@given(POSITIONS, st.integers(1, 7), st.randoms())
def test_holds_what_a_set_holds_in_whatever_order_it_came(positions: set[int], step: int, order: random.Random) -> None:
    shuffled = list(positions)
    order.shuffle(shuffled)
    ledger = Ledger.empty()
    for first in range(0, len(shuffled), step):
        ledger = ledger.add(shuffled[first : first + step])
    assert held(ledger) == positions
    assert ledger.stop == max(positions, default=-1) + 1
    assert ledger == Ledger.empty().add(np.array(sorted(positions), np.int64))
    assert ledger.watermark == next(p for p in range(100) if p not in positions)


@given(POSITIONS, st.data())
def test_adding_a_position_again_is_an_error_that_names_it(positions: set[int], data: st.DataObject) -> None:
    if not positions:
        return
    again = data.draw(st.sampled_from(sorted(positions)))
    ledger = Ledger.empty().add(list(positions))
    with pytest.raises(ValueError, match=f"position {again} was consumed twice"):
        ledger.add([again, 1000])
    assert held(ledger) == positions


def test_a_position_twice_in_one_batch_is_an_error_too() -> None:
    with pytest.raises(ValueError, match="position 7 was consumed twice"):
        Ledger.empty().add([9, 7, 3, 7])
    with pytest.raises(ValueError, match="position -1 is negative"):
        Ledger.empty().add([3, -1])


@given(POSITIONS, st.integers(0, 80))
def test_remaining_is_what_is_missing_below_a_stop(positions: set[int], stop: int) -> None:
    gaps = Ledger.empty().add(list(positions)).remaining(stop)
    assert [p for start, end in gaps for p in range(start, end)] == [p for p in range(stop) if p not in positions]
    assert all(start < end for start, end in gaps)
    assert all(end < start for (_, end), (start, _) in pairwise(gaps))


@given(POSITIONS)
def test_text_gives_the_same_ledger_again(positions: set[int]) -> None:
    ledger = Ledger.empty().add([p * 10**15 for p in positions])
    assert Ledger.from_json(ledger.to_json()) == ledger


def test_a_run_in_order_stays_one_number() -> None:
    ledger = Ledger.empty()
    for step in range(1000):
        ledger = ledger.add(np.arange(step * 512, (step + 1) * 512))
    assert ledger == Ledger(512_000, ())
    assert ledger.to_json() == '{"watermark":512000,"intervals":[]}'


def test_a_ledger_is_never_changed() -> None:
    ledger = Ledger.empty().add([0, 2])
    ledger.add([1])
    assert ledger == Ledger(1, ((2, 3),))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"watermark":3,"intervals":[[3,4]]}',
        '{"watermark":3,"intervals":[[9,8]]}',
        '{"watermark":3,"intervals":[[5,7],[7,8]]}',
        '{"watermark":-1,"intervals":[]}',
        '{"watermark":1,"intervals":[5]}',
    ],
)
def test_damaged_text_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        Ledger.from_json(text)
