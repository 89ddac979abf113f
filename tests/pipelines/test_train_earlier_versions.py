"""Runs that an earlier version began are gone on with, on Ray."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipelines.runs import RunRequest
from pipelines.train import run_training
from tests.earlier import STOPPED_STEPS, recipe_of, unpack
from vlm3.tracking.runs import tracking_uri
from vlm3.train.checkpoint import read_state
from vlm3.train.resume import latest_checkpoint


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return unpack(tmp_path) / "runs"


@pytest.mark.long
def test_an_earlier_run_that_was_stopped_is_finished(ray_session: None, runs: Path) -> None:
    recipe, run_dir = recipe_of(STOPPED_STEPS), runs / "train" / "stopped"
    begun = latest_checkpoint(run_dir)
    assert begun is not None
    steps_before = read_state(begun).step
    result = run_training(recipe, RunRequest("stopped", runs, resume=True))
    assert result.run_id == json.loads((run_dir / "run.json").read_text())["run_id"] and result.version == 2
    assert not result.promoted, "an earlier champion is not comparable"
    last = latest_checkpoint(run_dir)
    assert last is not None
    state = read_state(last)
    assert (state.step, state.ledger.watermark, state.ledger.intervals) == (30, 120, ()), "each position once"
    history = MlflowClient(tracking_uri(recipe.tracking, runs)).get_metric_history(result.run_id, "train/loss")
    assert set(range(1, 31)) == {point.step for point in history} and steps_before < 30


def test_an_earlier_run_that_is_finished_is_left_as_it_is(ray_session: None, runs: Path) -> None:
    export = runs / "train" / "done" / "export" / "model.safetensors"
    before = export.read_bytes(), export.stat().st_mtime_ns
    result = run_training(recipe_of(), RunRequest("done", runs, resume=True))
    assert result.version == 1 and (export.read_bytes(), export.stat().st_mtime_ns) == before


def test_an_earlier_run_that_was_not_registered_is_evaluated_anew_and_registered(ray_session: None, runs: Path) -> None:
    client = MlflowClient(tracking_uri(recipe_of().tracking, runs))
    client.delete_model_version("vlm3-depth", "1")
    (runs / "train" / "done" / "summary.json").unlink()
    result = run_training(recipe_of(), RunRequest("done", runs, resume=True))
    assert result.version == 2 and result.promoted
    asked = client.get_model_version("vlm3-depth", "2").tags["vlm3.evaluation"]
    assert asked.endswith(" images=2 points=2 seed=3")
