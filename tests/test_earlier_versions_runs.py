"""Runs of an earlier version, finished and stopped: their checkpoints, what MLflow has of them, and going on."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipelines.run_end import complete
from pipelines.run_file import claim
from pipelines.runs import RunRequest
from pipelines.sources import components, evaluated_sources, source_uri, task_names
from pipelines.weights import component_sizes, start_plan
from tests.earlier import STOPPED_STEPS, recipe_of, unpack
from vlm3.errors import CheckpointError
from vlm3.mixture.keeper import newer_plan, read_issued, read_plan
from vlm3.mixture.plan import MixturePlan
from vlm3.models.load import resolve_model
from vlm3.scenes.sharded import ShardedSource
from vlm3.tokens.vision import VisionSpec
from vlm3.tracking.client import connect_existing, tracking_uri
from vlm3.tracking.config import TrackingConfig
from vlm3.tracking.registry import DECISION_TAG, evaluation_identity, promote_if_better, register, resolve
from vlm3.tracking.runs import start_run
from vlm3.train.checkpoint import read_state, require_recipe
from vlm3.train.progress import read_progress, read_summary
from vlm3.train.recipe import Recipe
from vlm3.train.resume import latest_checkpoint

CONFIG = TrackingConfig()
DECISIVE = "eval/yard/delta1"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A copy that may be written, in another place than the earlier version had it."""
    return unpack(tmp_path) / "runs"


def sources_of(recipe: Recipe, runs: Path) -> dict[str, ShardedSource]:
    return {name: ShardedSource.open(source_uri(recipe, name, runs)) for name in recipe.sources}


def shapes(model_dir: Path) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in load_file(model_dir / "model.safetensors").items()}


def test_a_checkpoint_is_read_and_holds_the_weights_that_were_exported(earlier: Path) -> None:
    run_dir, recipe = earlier / "runs" / "train" / "done", recipe_of()
    checkpoint = latest_checkpoint(run_dir)
    assert checkpoint is not None
    state = read_state(checkpoint)
    assert (state.step, state.ledger.watermark, state.ledger.intervals, state.world_size) == (4, 16, (), 1)
    assert sum(state.seen) == 16
    require_recipe(checkpoint, state, recipe.fingerprint(), recipe.identity())
    saved = torch.load(checkpoint / "engine" / "states" / "mp_rank_00_model_states.pt", weights_only=False)["module"]
    exported = load_file(run_dir / "export" / "model.safetensors")
    assert exported and all(torch.equal(tensor, saved[name]) for name, tensor in exported.items())
    summary, progress = read_summary(run_dir), read_progress(run_dir)
    assert {"loss_first", "loss_last", DECISIVE, "realised/yard/depth"} <= set(summary)
    assert progress is not None and (progress.step, progress.total_steps) == (4, 4)


def test_a_stopped_run_goes_on_with_the_same_model_and_the_same_plan(runs: Path) -> None:
    recipe, run_dir = recipe_of(STOPPED_STEPS), runs / "train" / "stopped"
    run_id = claim(run_dir, recipe, RunRequest("stopped", runs, resume=True))
    assert run_id == json.loads((run_dir / "run.json").read_text())["run_id"]
    checkpoint = latest_checkpoint(run_dir)
    assert checkpoint is not None
    state = read_state(checkpoint)
    assert 0 < state.step < recipe.train.steps
    require_recipe(checkpoint, state, recipe.fingerprint(), recipe.identity())

    (known,) = (runs / "models").iterdir()
    model_dir = resolve_model(recipe.model, runs / "models", recipe.seed)
    assert model_dir != known, "another format"
    # The weights are the checkpoint's; those of a fresh model are others today (decision 0011).
    for file in known.iterdir():
        if file.name != "model.safetensors":
            assert file.read_bytes() == (model_dir / file.name).read_bytes(), file.name
    assert shapes(known) == shapes(model_dir)

    sources = sources_of(recipe, runs)
    parts, weights = components(recipe, sources, VisionSpec.from_directory(model_dir))
    sizes = component_sizes([(part.name, part.source) for part in parts])
    plan = MixturePlan.from_json(state.plan, sizes)
    assert plan == start_plan(recipe, parts, weights) == newer_plan(plan, read_plan(run_dir))
    assert read_issued(run_dir) > state.ledger.stop - 1
    assert task_names(plan.ever_drawn(120)) == {"depth", "pose", "objects"}
    assert {source.name for source in evaluated_sources(recipe, sources, {"depth"})} == {"flats", "yard"}


def test_a_run_of_another_recipe_is_refused_with_the_cure(runs: Path) -> None:
    with pytest.raises(CheckpointError, match=r"another recipe .* resume it with the recipe and --set") as refused:
        claim(runs / "train" / "stopped", recipe_of(), RunRequest("stopped", runs, resume=True))
    assert "\n" not in str(refused.value)


def test_the_runs_of_an_earlier_database_are_listed_and_gone_on_with(runs: Path) -> None:
    uri = tracking_uri(CONFIG, runs)
    client = connect_existing(uri)
    experiment = client.get_experiment_by_name("vlm3")
    assert experiment is not None and experiment.artifact_location == (runs / "mlartifacts").as_uri()
    found = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(found) == {"done", "stopped", "measured", "predicted"}
    done = found["done"]
    assert done.info.status == "FINISHED" and done.data.params["train.global_batch"] == "4"
    history = client.get_metric_history(done.info.run_id, "train/loss")
    summary = read_summary(runs / "train" / "done")
    assert [point.step for point in history] == [1, 2, 3, 4] and history[0].value == summary["loss_first"]
    assert done.data.metrics[DECISIVE] == summary[DECISIVE]
    assert {entry.dataset.name for entry in done.inputs.dataset_inputs} == {"flats", "yard"}
    assert "measured" in found and found["measured"].data.tags["mlflow.parentRunId"] == done.info.run_id
    stopped = found["stopped"].info.run_id
    with start_run(CONFIG, runs, "stopped", "train", run_id=stopped) as run:
        run.params(recipe_of(STOPPED_STEPS).plain())
        run.text("later.txt", "later")
    assert client.get_run(stopped).info.status == "FINISHED"
    assert (runs / "mlartifacts" / stopped / "artifacts" / "later.txt").is_file()


def test_the_earlier_champion_is_found_and_keeps_its_place(runs: Path) -> None:
    uri = tracking_uri(CONFIG, runs)
    champion = resolve("models:/vlm3-depth@champion", uri, runs / "served")
    weights = [folder / "model.safetensors" for folder in (champion.directory, runs / "train" / "done" / "export")]
    assert champion.version == "1" and weights[0].read_bytes() == weights[1].read_bytes()
    client = connect_existing(uri)
    evaluation = client.get_model_version("vlm3-depth", "1").tags["vlm3.evaluation"]
    asked = evaluation_identity(evaluation, 2, 2, 3)
    with start_run(CONFIG, runs, "new", "evaluation") as run:
        version = register(CONFIG, uri, run.run_id, champion.directory, DECISIVE, 0.99, asked)
    assert not promote_if_better(CONFIG, uri, version, DECISIVE, 0.99)
    reason = client.get_model_version("vlm3-depth", str(version)).tags[DECISION_TAG]
    assert "not recorded" in reason and "Delete the alias, and the next run's best version gets it" in reason
    assert client.get_model_version_by_alias("vlm3-depth", "champion").version in (1, "1")


def test_scores_of_which_it_is_not_recorded_what_was_asked_are_not_registered(runs: Path) -> None:
    """An earlier version stopped between its last step and the registration."""
    recipe, run_dir = recipe_of(), runs / "train" / "done"
    client = connect_existing(tracking_uri(CONFIG, runs))
    request, run_id = RunRequest("done", runs, resume=True), json.loads((run_dir / "run.json").read_text())["run_id"]
    evaluated = evaluated_sources(recipe, sources_of(recipe, runs), {"depth"})
    finished = complete(recipe, request, run_dir, run_id, evaluated)
    assert (finished.version, finished.metrics) == (1, read_summary(run_dir))
    client.delete_model_version("vlm3-depth", "1")
    with pytest.raises(CheckpointError, match=r"delete .*/train/done/summary.json and resume again") as refused:
        complete(recipe, request, run_dir, run_id, evaluated)
    assert "\n" not in str(refused.value)
    assert not client.search_model_versions("name = 'vlm3-depth'")
