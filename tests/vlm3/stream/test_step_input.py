"""A rank's parcels become its micro-batches, and nothing is lost on the way."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vlm3.stream.dealing import Dealing, StepShape
from vlm3.stream.parcels import Cost, RowParcel
from vlm3.stream.quarantine import Fault, FaultKind
from vlm3.stream.step_input import step_inputs
from vlm3.tokens.step_row import StepRow
from vlm3.tokens.vision import VisionSpec


def row(position: int, spec: VisionSpec) -> StepRow:
    side = spec.token_px
    ids = np.array([1, spec.image_token_id, 2, 3], np.int32)
    return StepRow(position, 0, 0, ids, np.array([0, 0, 1, 1], bool), (np.zeros((side, side, 3), np.uint8),))


@given(st.integers(1, 3), st.integers(2, 6), st.integers(1, 40), st.integers(1, 4))
def test_every_rank_has_as_many_micro_batches_and_every_position_comes_once(
    tiny_vision: VisionSpec, world: int, micro: int, batch: int, steps: int
) -> None:
    batch = max(batch, world * micro)
    shape = StepShape(batch, world, micro)
    dealing = Dealing(((0, steps * batch),), shape)
    seen: list[int] = []
    counts = set()
    for rank in range(world):
        numbers = range(rank, dealing.parcels, world)
        parcels = [
            RowParcel(tuple(row(int(p), tiny_vision) for p in dealing.positions(number)), (), Cost(1, 10))
            for number in numbers
        ]
        taken = list(step_inputs(parcels, shape, tiny_vision))
        assert len(taken) == steps
        for step in taken:
            counts.add(len(step.micro_batches))
            assert step.cost == Cost(shape.parcels, 10 * shape.parcels)
            sizes = [len(part.positions) for part in step.micro_batches]
            assert min(sizes) >= 1 and max(sizes) <= micro
            seen += [int(p) for part in step.micro_batches for p in part.positions]
    assert counts == {shape.micro_batches}
    assert sorted(seen) == list(range(steps * batch))


def test_faults_travel_with_their_step_and_a_step_that_lacks_parcels_is_not_given_out(tiny_vision: VisionSpec) -> None:
    shape = StepShape(200, 1, 50)
    assert shape.parcels == 4
    fault = Fault(3, 0, "rooms/depth", "a", FaultKind.IMAGE, "DataError", "damaged")
    rows = [tuple(row(p, tiny_vision) for p in range(start, start + 50)) for start in range(0, 350, 50)]
    parcels = [RowParcel(part, (fault,) if part[0].position == 50 else ()) for part in rows]
    (only,) = step_inputs(parcels, shape, tiny_vision)
    assert only.faults == (fault,)
