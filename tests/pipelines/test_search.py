"""What a mixture search refuses before anything runs, and what its trials train."""

from pathlib import Path

import pytest

from pipelines.search import run_search, trial_recipe
from vlm3.errors import CheckpointError, ConfigError
from vlm3.search.config import SearchConfig
from vlm3.train.recipe import Recipe, load_recipe

ROOMS = Path(__file__).resolve().parents[2] / "jobs" / "recipes" / "rooms.yaml"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(ROOMS)


def test_a_trial_is_the_recipe_with_other_weights_and_few_steps(recipe: Recipe):
    config = SearchConfig(steps=12, overrides=("evaluation.images=7", "train.global_batch=16"))
    trial = trial_recipe(recipe, config, {"rooms": 0.1, "studios": 0.9})
    assert (trial.sources["rooms"].weight, trial.sources["studios"].weight) == (0.1, 0.9)
    assert (trial.train.steps, trial.evaluation.every_steps) == (12, 12)
    assert (trial.evaluation.images, trial.train.global_batch) == (7, 16)
    assert trial.model == recipe.model and trial.optimizer == recipe.optimizer and trial.seed == recipe.seed


def test_trials_side_by_side_give_their_cpus_back(recipe: Recipe):
    weights = {"rooms": 0.5, "studios": 0.5}
    pools = [trial_recipe(recipe, SearchConfig(max_concurrent=n), weights).stream.decode.pool for n in (1, 2)]
    assert pools == ["actors", "tasks"]


@pytest.mark.parametrize(
    ("search", "sets", "message"),
    [
        ({"sources": ("rooms", "studois")}, (), "no source 'studois'; did you mean 'studios'"),
        ({"overrides": ("train.stepz=3",)}, (), "unknown key 'train.stepz'; did you mean 'steps'"),
        ({"floor": 0.49}, ("sources.third={weight: 1.0, uri: /data/x}",), "leaves nothing to vary"),
        ({}, ("mixture.weights={rooms/depth: 1.0}",), "mixture.weights.rooms/depth of the recipe overrules"),
        (
            {},
            ("mixture.schedule=[{at_step: 9, weights: {studios/depth: 1.0}}]",),
            r"mixture.schedule.0.weights.studios/depth of the recipe overrules from step 9 on",
        ),
    ],
    ids=["source", "override", "floor", "overruled", "overruled later"],
)
def test_a_search_that_cannot_work_is_refused_before_ray_starts(
    search: dict[str, object], sets: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # joining a cluster would fail with another message
    with pytest.raises(ConfigError, match=message):
        run_search(SearchConfig(**search), load_recipe(ROOMS, sets), "s", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_no_trial_could_train_is_refused_before_anything_is_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # joining a cluster would fail with another message
    runs_dir = tmp_path / "runs"
    (tmp_path / "config.json").write_text('{"model_type": "qwen3_vl", "quantization_config": {"quant_method": "awq"}}')
    for sets, overrides in (((f"model.id={tmp_path}",), ()), ((), (f"model.id={tmp_path}",))):
        with pytest.raises(ConfigError, match=r"quantized weights \(awq\) cannot be trained"):
            run_search(SearchConfig(overrides=overrides), load_recipe(ROOMS, sets), "s", runs_dir)
    assert not runs_dir.exists()


def test_going_on_with_a_search_that_never_was_is_refused(recipe: Recipe, tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"no search to go on with .*start one with --name never"):
        run_search(SearchConfig(), recipe, "never", tmp_path, resume=True)
    assert list(tmp_path.iterdir()) == []


def test_a_used_name_is_refused(recipe: Recipe, tmp_path: Path):
    (tmp_path / "search" / "s").mkdir(parents=True)
    (tmp_path / "search" / "s" / "search.json").write_text("{}")
    with pytest.raises(ConfigError, match="continue it with --resume s"):
        run_search(SearchConfig(), recipe, "s", tmp_path)
