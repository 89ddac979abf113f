import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.train.schedule import learning_rate

runs = st.tuples(st.integers(1, 3000), st.floats(0, 1), st.floats(0, 1))


def test_a_run_of_ten_steps_by_hand() -> None:
    rates = [learning_rate(step, 10, peak=2.0, warmup_share=0.4) for step in range(10)]
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0]
    assert rates[4:] == pytest.approx([1 + math.cos(math.pi * k / 7) for k in range(1, 7)])


@given(runs)
def test_it_rises_to_the_peak_once_and_falls_towards_the_floor(run: tuple[int, float, float]) -> None:
    total, warmup, floor = run
    rates = [learning_rate(step, total, 1e-3, warmup, floor) for step in range(total)]
    top = max(1, math.ceil(warmup * total)) - 1
    assert rates[top] == pytest.approx(1e-3)
    assert all(a < b for a, b in pairwise(rates[: top + 1]))
    assert all(a >= b for a, b in pairwise(rates[top:]))
    assert all(1e-3 * floor <= rate * (1 + 1e-12) for rate in rates[top:])
    assert min(rates) > 0


@pytest.mark.parametrize("step", [-1, 10, 11])
def test_steps_outside_the_run_are_refused(step: int) -> None:
    with pytest.raises(ValueError, match="outside a run of 10"):
        learning_rate(step, 10, 1.0)
