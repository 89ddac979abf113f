"""Forms of answers that are a number, and what is read from how likely the numbers are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.asking.number_form import NumberForm, Spread
from vlm3.tasks.depth.task import DepthTask, DepthTaskConfig


@pytest.mark.parametrize(
    ("form", "found"),
    [
        ("{:.2f}", NumberForm("", 2)),
        ("{:.1f} m", NumberForm("", 1)),
        ("<answer>about {:.3f} metres</answer>", NumberForm("<answer>about ", 3)),
        ("{:.0f} m", NumberForm("", 0)),
        ("{:,.2f}", NumberForm("", 2)),
        ("{:06.2f}", None),
        ("{:.2e}", None),
        ("{:g}", None),
        ("version 2: {:.2f}", None),
        ("far", None),
    ],
)
def test_the_form_is_found_where_it_is_plain(form: str, found: NumberForm | None) -> None:
    # Commas only show from a thousand metres on, where no depth is.
    assert NumberForm.of(form.format) == found


@pytest.mark.parametrize("templates", ["compact-1", "compact-2", "vlm3-1"])
def test_shipped_answers_about_depth_have_one(templates: str) -> None:
    task = DepthTask(DepthTaskConfig(templates=templates, decimals=1))
    assert task.number_form == NumberForm("", 1)


def spread(values: list[float], probabilities: list[float]) -> Spread:
    return Spread(np.array(values), np.array(probabilities), 1.0, 0.1)


def test_a_value_stands_for_all_that_is_rounded_to_it() -> None:
    found = spread([1.0, 1.1, 3.0], [0.25, 0.25, 0.5])
    assert [found.quantile(q) for q in (0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0)] == pytest.approx(
        [0.95, 1.0, 1.05, 1.1, 1.15, 3.0, 3.05]
    )
    assert spread([0.0], [0.1]).quantile(0.1) == 0, "no depth is less than 0"
    assert np.isnan(spread([], []).quantile(0.5))


@given(st.lists(st.tuples(st.integers(0, 999), st.floats(1e-6, 1)), min_size=1, max_size=20, unique_by=lambda v: v[0]))
def test_quantiles_are_in_order_and_among_the_values(drawn: list[tuple[int, float]]) -> None:
    drawn.sort()
    found = spread([value / 10 for value, _ in drawn], [share for _, share in drawn])
    quantiles = [found.quantile(q) for q in np.linspace(0, 1, 33)]
    assert quantiles == sorted(quantiles)
    assert all(np.abs(found.values - q).min() <= 0.05 + 1e-9 for q in quantiles)
