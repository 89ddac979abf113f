"""Paired comparisons: known differences, SciPy's paired test, and how often nothing is called something."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, ttest_rel

from vlm3.metrics.paired import paired_bootstrap

values = st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10), st.integers(0, 5)), min_size=1, max_size=30)


def test_a_constant_difference_is_certain_as_far_as_the_resamples_go() -> None:
    a = np.linspace(0, 1, 40)
    paired = paired_bootstrap(a, a + 0.25, np.arange(40), seed=0)
    assert paired.difference == pytest.approx(0.25)
    assert paired.interval == pytest.approx((0.25, 0.25))
    assert paired.p_value == 2 / 2001


def test_equal_answers_do_not_differ() -> None:
    paired = paired_bootstrap([1, 0, 1], [1, 0, 1], [0, 1, 2], seed=0)
    assert (paired.difference, paired.interval, paired.p_value) == (0, (0, 0), 1)


def test_few_groups_prove_little_however_many_answers_they_hold() -> None:
    a, b = np.zeros(1000), np.ones(1000)
    assert paired_bootstrap(a, b, np.zeros(1000), seed=0).p_value == 1.0
    assert paired_bootstrap(a, b, np.arange(1000) % 4, seed=0).p_value == 1 / 8


@given(values)
def test_swapping_the_models_turns_the_sign_and_keeps_the_p_value(rows: list[tuple[float, float, int]]) -> None:
    a, b, groups = zip(*rows, strict=True)
    forth, back = paired_bootstrap(a, b, groups, seed=1, resamples=200), paired_bootstrap(b, a, groups, 1, 200)
    assert forth.difference == pytest.approx(-back.difference, abs=1e-12)
    assert forth.interval == pytest.approx((-back.interval[1], -back.interval[0]), abs=1e-9)
    assert forth.p_value == back.p_value
    assert 1 / 201 <= forth.p_value <= 1


def test_the_interval_and_p_value_agree_with_the_t_test_where_that_holds() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(0, 1, 150)
    b = a + rng.normal(0.1, 0.6, 150)
    paired, t = paired_bootstrap(a, b, np.arange(150), seed=0, resamples=20_000), ttest_rel(b, a)
    assert paired.p_value == pytest.approx(t.pvalue, abs=0.015)
    theirs = t.confidence_interval()
    assert paired.interval == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_answers_of_one_image_are_not_independent() -> None:
    rng = np.random.default_rng(2)
    difference = np.repeat(rng.normal(0.2, 1, 30), 50)
    zeros = np.zeros(1500)
    by_image = paired_bootstrap(zeros, difference, np.arange(1500) // 50, seed=0)
    by_answer = paired_bootstrap(zeros, difference, np.arange(1500), seed=0)
    widths = [high - low for low, high in (by_image.interval, by_answer.interval)]
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(50), rel=0.15)


def test_equal_models_are_called_different_about_as_often_as_by_the_t_test() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = 0, 0
    for seed in range(200):
        difference = rng.normal(0, 1, 60)
        ours += paired_bootstrap(np.zeros(60), difference, np.arange(60), seed, resamples=1000).p_value < 0.05
        theirs += ttest_1samp(difference, 0).pvalue < 0.05
    assert abs(ours - theirs) <= 6


@pytest.mark.parametrize(
    ("a", "b", "groups", "message"),
    [
        ([1], [1, 2], [0], "equal"),
        ([], [], [], "equal"),
        ([np.nan], [1], [0], "finite"),
        ([1], [np.inf], [0], "finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(a: list[float], b: list[float], groups: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(a, b, groups, seed=0)
