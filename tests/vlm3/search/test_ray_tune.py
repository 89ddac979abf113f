"""The real Ray Tune runs the trials of a cheap objective with a known optimum."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from vlm3.errors import DataError
from vlm3.search.config import SearchConfig
from vlm3.search.ray_tune import AllTrialsFailedError, TrialOutcome, search
from vlm3.search.space import MixtureSpace
from vlm3.search.trials import Trial, TrialState, best_first

SPACE = MixtureSpace.of({"rooms": 2.0, "7scenes": 1.0, "hololens": 1.0}, (), 0.02)
OPTIMUM = {"rooms": 0.15, "7scenes": 0.15, "hololens": 0.7}

pytestmark = pytest.mark.usefixtures("ray_session")


def objective(number: int, weights: dict[str, float]) -> TrialOutcome:
    shares = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    score = -sum((shares[name] - best) ** 2 for name, best in OPTIMUM.items())
    return TrialOutcome(score, run_id=f"run-{number}-{os.getpid()}")


def run(
    config: SearchConfig, train_trial, folder: Path, known: Sequence[Trial] = ()
) -> tuple[list[list[Trial]], tuple]:
    snapshots: list[list[Trial]] = []
    trials = search(config, SPACE, train_trial, folder, known=known, on_change=lambda now: snapshots.append(list(now)))
    return snapshots, trials


def test_trials_run_in_their_own_processes_and_the_given_mixture_is_beaten(tmp_path: Path):
    snapshots, trials = run(SearchConfig(trials=6, max_concurrent=2), objective, tmp_path)
    assert [trial.number for trial in trials] == list(range(6))
    assert trials[0].weights == SPACE.given == (0.5, 0.25, 0.25)
    best = best_first(trials, "max")[0]
    assert best.score > trials[0].score
    for trial in trials:
        assert trial.score == pytest.approx(objective(0, SPACE.recipe_weights(trial.weights)).score)
        assert trial.run_id.startswith(f"run-{trial.number}-") and trial.seconds > 0
        assert trial.run_id != f"run-{trial.number}-{os.getpid()}"  # another process
    assert len(snapshots) == 2 * len(trials)
    running = [sum(trial.state is TrialState.RUNNING for trial in now) for now in snapshots]
    assert max(running) == 2 and running[-1] == 0


def test_one_trial_at_a_time_when_asked_so_and_every_proposal_knows_the_one_before(tmp_path: Path):
    snapshots, trials = run(SearchConfig(trials=3), objective, tmp_path)
    running = [sum(trial.state is TrialState.RUNNING for trial in now) for now in snapshots]
    assert running == [1, 0] * 3
    assert trials[2].weights == SPACE.propose(trials[:2], 0, "max")


def failing(number: int, weights: dict[str, float]) -> TrialOutcome:
    if number == 0:
        raise DataError("source rooms: shard 3 is damaged; ingest it again")
    if number == 1:
        raise ZeroDivisionError("first line\nsecond line")
    if number == 2:
        os._exit(1)
    return objective(number, weights)


def test_failed_trials_are_reported_and_the_search_goes_on(tmp_path: Path):
    _, trials = run(SearchConfig(trials=5), failing, tmp_path)
    failed, fine = trials[:3], trials[3:]
    assert [trial.state for trial in failed] == [TrialState.FAILED] * 3
    assert [trial.state for trial in fine] == [TrialState.FINISHED] * 2
    assert failed[0].error == "source rooms: shard 3 is damaged; ingest it again"
    assert failed[1].error == "ZeroDivisionError: first line"
    assert "died" in failed[2].error.lower()


def refusing(number: int, weights: dict[str, float]) -> TrialOutcome:
    raise DataError(f"no bucket in trial {number}")


def test_a_search_without_any_finished_trial_is_an_error_that_quotes_the_first(tmp_path: Path):
    with pytest.raises(
        AllTrialsFailedError, match="all 2 trials of the search failed; the first: no bucket in trial 0"
    ):
        run(SearchConfig(trials=2), refusing, tmp_path)


def test_an_interrupted_search_keeps_what_is_settled_and_repeats_what_was_not(tmp_path: Path):
    _, whole = run(SearchConfig(trials=4), objective, tmp_path / "whole")
    cut = (*whole[:2], Trial(2, whole[2].weights))
    _, resumed = run(SearchConfig(trials=4), objective, tmp_path / "resumed", known=cut)
    assert [trial.number for trial in resumed] == [0, 1, 3, 4]
    assert resumed[:2] == whole[:2]
    assert [trial.weights for trial in resumed] == [trial.weights for trial in whole]
    snapshots, again = run(SearchConfig(trials=4), objective, tmp_path / "resumed", known=resumed)
    assert again == resumed and snapshots == []
