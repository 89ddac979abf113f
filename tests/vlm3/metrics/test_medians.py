"""Medians of many groups: those of NumPy, group by group, in a time that grows with their number and not its square."""

import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vlm3.metrics.medians import grouped_medians, medians_of_others
from vlm3.tasks.depth.metrics import align_scale

ROWS = st.lists(st.tuples(st.floats(0.01, 1000), st.integers(0, 6)), max_size=40)
MANY = 20_000


def apart(rows: list[tuple[float, int]]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    return np.array([row[0] for row in rows], np.float64), np.array([row[1] for row in rows], np.intp)


def median(values: NDArray[np.float64]) -> float:
    return float(np.median(values)) if len(values) else float("nan")


@given(ROWS)
def test_they_are_those_of_numpy(rows: list[tuple[float, int]]) -> None:
    values, groups = apart(rows)
    of_each = [median(values[groups == group]) for group in range(7)]
    of_others = [median(values[groups != group]) for group in range(7)]
    assert np.array_equal(grouped_medians(values, groups, 7), of_each, equal_nan=True)
    assert np.array_equal(medians_of_others(values, groups, 7), of_others, equal_nan=True)


@given(ROWS, st.integers(0, 2**32))
def test_the_scale_of_each_image_is_what_a_loop_over_images_gives(rows: list[tuple[float, int]], seed: int) -> None:
    said, image = apart(rows)
    rng = np.random.default_rng(seed)
    said = rng.choice([1.0, np.nan, -1.0], len(said), p=[0.7, 0.2, 0.1]) * said
    true, expected = rng.uniform(0.1, 10, len(said)), said.copy()
    for name in set(image.tolist()):
        used = (image == name) & (said > 0)
        if used.any():
            expected[image == name] *= np.median(true[used] / said[used])
    names = np.array([f"image-{name}" for name in image], np.object_).astype(str)
    assert np.array_equal(align_scale(said, true, names), expected, equal_nan=True)


def test_ten_thousand_groups_take_moments() -> None:
    rng = np.random.default_rng(0)
    values, groups = rng.random(10 * MANY), rng.integers(0, MANY, 10 * MANY)
    began = time.process_time()
    grouped_medians(values, groups, MANY)
    medians_of_others(values, groups, MANY)
    align_scale(values, values, groups)
    assert time.process_time() - began < 5, "a loop over groups takes minutes"
