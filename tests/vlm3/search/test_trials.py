"""Trials are ranked, read and written without losing anything."""

import json
from pathlib import Path

import pytest

from vlm3.errors import CheckpointError, ConfigError
from vlm3.search.trials import SearchState, Trial, TrialState, best_first, metric_value, read_state

DONE = TrialState.FINISHED
TRIALS = (
    Trial(0, (0.5, 0.5), DONE, 0.4, run_id="a", seconds=3.5),
    Trial(1, (0.1, 0.9), TrialState.FAILED, error="no data"),
    Trial(2, (0.9, 0.1), DONE, 0.6),
    Trial(3, (0.7, 0.3)),
    Trial(4, (0.8, 0.2), DONE, 0.6),
)


def test_best_first_knows_the_direction_and_puts_the_unfinished_last():
    assert [trial.number for trial in best_first(TRIALS, "max")] == [2, 4, 0, 1, 3]
    assert [trial.number for trial in best_first(TRIALS, "min")] == [0, 2, 4, 1, 3]


def test_a_search_is_read_back_as_it_was_written(tmp_path: Path):
    state = SearchState("id", "run", TRIALS)
    state.write(tmp_path / "s" / "search.json")
    assert read_state(tmp_path / "s" / "search.json", "id") == state
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["search.json"]


def test_a_search_of_something_else_is_not_continued(tmp_path: Path):
    SearchState("id", "run", TRIALS).write(tmp_path / "search.json")
    with pytest.raises(CheckpointError, match="started with another recipe"):
        read_state(tmp_path / "search.json", "other")
    with pytest.raises(CheckpointError, match=r"no search to go on with .*start one with --name"):
        read_state(tmp_path / "absent" / "search.json", "id")


def test_the_file_is_plain_json_that_others_can_read(tmp_path: Path):
    SearchState("id", "run", TRIALS).write(tmp_path / "search.json")
    assert json.loads((tmp_path / "search.json").read_text())["trials"][1]["error"] == "no data"


METRICS = {
    "eval/rooms/delta1": 0.6,
    "eval/ibims1/delta1": 0.2,
    "eval/rooms/constant_delta1": 0.9,
    "eval/bad/delta2": float("nan"),
}


def test_a_star_averages_all_that_match_and_nothing_else():
    assert metric_value(METRICS, "eval/rooms/delta1") == 0.6
    assert metric_value(METRICS, "eval/*/delta1") == pytest.approx(0.4)


def test_a_metric_that_no_training_has_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'eval/rooms/delta1'"):
        metric_value(METRICS, "eval/room/delta1")


def test_a_metric_that_is_not_a_number_is_an_error():
    with pytest.raises(ConfigError, match=r"is nan \(of eval/bad/delta2\)"):
        metric_value(METRICS, "eval/*/delta2")
