"""Coverage and width of intervals, beside those of one constant width."""

import numpy as np
import pytest

from tests.answer_tables import depth_answers
from vlm3.asking.tables import from_arrow, to_arrow
from vlm3.tasks.depth.interval_metrics import LEVELS, interval_figures
from vlm3.tasks.depth.table import DepthTable


def figures(answered: np.ndarray, true: np.ndarray, interval: np.ndarray) -> dict[str, float]:
    groups = np.array([f"g{index // 5}" for index in range(len(true))])
    return {figure[0]: figure[1] for figure in interval_figures(answered, true, interval, groups, seed=0)}


def test_the_share_inside_and_the_mean_width() -> None:
    true = np.array([1.0, 2.0, 3.0, 4.0])
    answered = np.array([1.1, 2.0, np.nan, 5.0])
    ends = np.stack([true - 0.5, true + 0.5], axis=1)
    ends[3] = 5.5, 6.0
    ends[2] = np.nan
    found = figures(answered, true, np.repeat(ends[:, None], len(LEVELS), 1))
    assert found["interval_share"] == 0.75
    for level in ("50", "80", "90"):
        assert found[f"interval_{level}_coverage"] == pytest.approx(2 / 3)
        assert found[f"interval_{level}_width_m"] == pytest.approx(2.5 / 3)
        # Two of three errors, 0, 0.1 and 1, are at most 0.1; rounded up, since fewer would cover less.
        assert found[f"interval_{level}_constant_width_m"] == pytest.approx(2.0)


def test_a_model_that_knows_where_it_is_sure_needs_less_width() -> None:
    rng = np.random.default_rng(0)
    sigma = np.tile([0.05, 1.0], 1000)
    answered = np.full(2000, 5.0)
    true = answered + sigma * rng.standard_normal(2000)
    z = np.array([0.6745, 1.2816, 1.6449])
    ends = answered[:, None, None] + sigma[:, None, None] * z[None, :, None] * np.array([-1, 1])
    found = figures(answered, true, ends)
    for level in (50, 80, 90):
        assert found[f"interval_{level}_coverage"] == pytest.approx(level / 100, abs=0.03)
    # Half of the truths are near: the constant width that holds 50 % is small.
    assert found["interval_80_width_m"] < 0.9 * found["interval_80_constant_width_m"]
    assert found["interval_90_width_m"] < 0.9 * found["interval_90_constant_width_m"]


def test_without_intervals_nothing_is_said() -> None:
    table = depth_answers([1.0, 2.0], [1.0, 2.0])
    assert not any(figure[0].startswith("interval") for figure in table.figures(0))


def test_baselines_have_no_intervals() -> None:
    table = depth_answers([1.0, 2.0], [1.0, 2.0])
    table.predicted_interval_m[:] = [0.5, 3.0]
    assert any(figure[0].startswith("interval") for figure in table.figures(0))
    for baseline in table.baselines().values():
        assert np.isnan(baseline.predicted_interval_m).all()


def test_a_table_of_an_earlier_version_is_read_without_them() -> None:
    table = depth_answers([1.0, 2.0], [1.0, np.nan])
    earlier = to_arrow(table).drop_columns(["predicted_interval_m"])
    read = from_arrow(DepthTable, earlier)
    assert read.predicted_interval_m.shape == (2, 3, 2) and np.isnan(read.predicted_interval_m).all()
    table.predicted_interval_m[0] = 1.0
    np.testing.assert_equal(from_arrow(DepthTable, to_arrow(table)).predicted_interval_m, table.predicted_interval_m)
