"""Relative errors of lengths, by hand and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_percentage_error

from vlm3.metrics.relative import length_right, relative_error

lengths = st.floats(0.01, 1000)


def test_a_quarter_off_is_right_on_both_sides_and_a_hair_more_is_wrong() -> None:
    assert length_right([0.75, 1.25, 0.749, 1.251, np.nan], [1.0] * 5).tolist() == [True, True, False, False, False]


@given(st.integers(1, 100_000))
def test_a_bound_of_whole_hundredths_is_right_whatever_floating_point_makes_of_it(quarter_cm: int) -> None:
    true = 4 * quarter_cm / 100
    assert length_right([5 * quarter_cm / 100, 3 * quarter_cm / 100], [true, true]).all()
    assert not length_right([5 * quarter_cm / 100 + 1e-4 * true], [true]).any()


def test_a_length_of_zero_has_no_relative_error_and_only_zero_is_right() -> None:
    assert np.isnan(relative_error([0.0, 1.0], [0.0, 0.0])).all()
    assert length_right([0.0, 0.01], [0.0, 0.0]).tolist() == [True, False]


def test_an_unreadable_answer_has_no_error() -> None:
    assert relative_error([np.nan, 3.0, -1.0], [2.0, 2.0, 2.0]).tolist() == pytest.approx(
        [np.nan, 0.5, 1.5], nan_ok=True
    )


@given(st.lists(st.tuples(lengths, lengths), min_size=1, max_size=30))
def test_the_mean_is_that_of_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    predicted, true = np.array(pairs).T
    assert relative_error(predicted, true).mean() == pytest.approx(mean_absolute_percentage_error(true, predicted))
