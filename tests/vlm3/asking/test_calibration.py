"""Calibrated intervals keep their promise on other answers, whether the model is too sure, or not sure enough."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm3.asking.calibration import (
    FILE,
    LEAST_ANSWERS,
    LEVELS,
    Calibration,
    calibration_file,
    fit,
    misses,
    own_interval,
    read_calibration,
)
from vlm3.asking.number_form import Spread
from vlm3.errors import ConfigError

STEP = 0.05


def drawn(count: int, told_sigma: float, true_sigma: float, seed: int) -> tuple[list[Spread], np.ndarray]:
    """A model that says the depth is log-normal with `told_sigma`, and truths that are with `true_sigma`."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(1, 8, count)
    spreads = []
    for centre in centres:
        ends = centre * np.exp(4 * told_sigma * np.array([-1, 1]))
        values = np.round(np.arange(max(STEP, ends[0]), ends[1] + STEP, STEP) / STEP) * STEP
        weights = np.exp(-0.5 * (np.log(values / centre) / told_sigma) ** 2) / values
        spreads.append(Spread(values, 0.9 * weights / weights.sum(), 0.95, STEP))
    return spreads, centres * np.exp(true_sigma * rng.standard_normal(count))


def coverage(calibration: Calibration, spreads: list[Spread], true_m: np.ndarray, level: float) -> float:
    ends = [calibration.interval_m(spread, level) for spread in spreads]
    return float(np.mean([low <= true <= high for (low, high), true in zip(ends, true_m, strict=True)]))  # type: ignore[misc]


@pytest.mark.parametrize("true_sigma", [0.05, 0.15, 0.4])
def test_the_promise_is_kept_on_other_answers(true_sigma: float) -> None:
    spreads, true_m = drawn(1500, 0.15, true_sigma, seed=1)
    calibration = fit(np.stack([misses(*pair) for pair in zip(spreads, true_m, strict=True)]), images=100)
    assert calibration is not None
    # The model is as sure as it may be, less, or more.
    wrong = np.array(calibration.margins_log_m) * np.sign(true_sigma - 0.15)
    assert (wrong > 0.02).all() if true_sigma != 0.15 else np.abs(calibration.margins_log_m).max() < 0.04
    others, others_m = drawn(1500, 0.15, true_sigma, seed=2)
    for level in (*LEVELS, 0.75, 0.925):
        assert coverage(calibration, others, others_m, level) == pytest.approx(level, abs=0.04)


@settings(max_examples=30)
@given(st.integers(LEAST_ANSWERS, 300), st.floats(0.02, 0.5), st.integers(0, 999))
def test_on_the_answers_it_was_made_from_no_level_promises_too_much(count: int, true_sigma: float, seed: int) -> None:
    spreads, true_m = drawn(count, 0.1, true_sigma, seed)
    calibration = fit(np.stack([misses(*pair) for pair in zip(spreads, true_m, strict=True)]), images=1)
    assert calibration is not None
    for level in LEVELS:
        assert coverage(calibration, spreads, true_m, level) >= level - 1e-9


def test_a_margin_that_shrinks_an_interval_to_nothing_leaves_its_middle() -> None:
    spread = Spread(np.array([2.0]), np.array([0.8]), 0.9, STEP)
    calibration = Calibration(levels=(0.5, 0.9), margins_log_m=(-9.0, 0.0), answers=99, images=9)
    low, high = calibration.interval_m(spread, 0.5) or (0, 0)
    assert low == high == pytest.approx(2.0, rel=1e-2)
    low, high = calibration.interval_m(spread, 0.9) or (0, 0)
    assert low < 2 < high and high - low < STEP
    nothing = Spread(np.zeros(0), np.zeros(0), 0.3, STEP)
    assert calibration.interval_m(nothing, 0.9) is None


def test_an_interval_that_begins_at_nothing_has_a_logarithm() -> None:
    spread = Spread(np.array([0.0, 1.0]), np.array([0.9, 0.1]), 1.0, STEP)
    assert np.isfinite(own_interval(spread, 0.5)).all() and np.isfinite(misses(spread, 1e-3)).all()


def test_too_few_answers_promise_nothing() -> None:
    assert fit(np.zeros((LEAST_ANSWERS - 1, len(LEVELS))), images=9) is None
    found = fit(np.zeros((LEAST_ANSWERS, len(LEVELS))), images=9)
    assert found is not None and (found.answers, found.images) == (LEAST_ANSWERS, 9)


def test_it_lies_beside_the_weights(tmp_path: Path) -> None:
    found = fit(np.random.default_rng(0).normal(size=(80, len(LEVELS))), images=8)
    assert read_calibration(tmp_path) is None and calibration_file(None) == {}
    for name, text in calibration_file(found).items():
        (tmp_path / name).write_text(text)
    assert read_calibration(tmp_path) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"schema_version": 1, "levels": [0.9, 0.5], "margins_log_m": [0, 0], "answers": 9, "images": 9}',
        '{"schema_version": 1, "levels": [0.5], "margins_log_m": [0, 0], "answers": 9, "images": 9}',
        '{"schema_version": 1, "levels": [0.2], "margins_log_m": [0], "answers": 9, "images": 9}',
        '{"schema_version": 2, "levels": [0.5], "margins_log_m": [0], "answers": 9, "images": 9}',
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigError, match=FILE):
        read_calibration(tmp_path)
