"""What a run leaves is registered with what was asked of it, once."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipelines.run_end import complete, finish, finished, is_trained
from pipelines.run_file import write_run_file
from pipelines.runs import RunRequest
from tests.stream_fixtures import write_made_source
from vlm3.errors import CheckpointError
from vlm3.mixture.ledger import Ledger
from vlm3.scenes.sharded import ShardedSource
from vlm3.storage.store import open_store
from vlm3.tracking.runs import TrackedRun, prepare_tracking, start_run, tracking_uri
from vlm3.train.checkpoint import TrainState, commit
from vlm3.train.progress import write_summary
from vlm3.train.recipe import Recipe, load_recipe
from vlm3.train.resume import checkpoint_name

ROOMS = Path(__file__).resolve().parents[2] / "jobs" / "recipes" / "rooms.yaml"
ASKED = ("sources={made: {uri: there}}", "evaluation={images: 30, points: 7}", "seed=5")
SCORED = {"eval/made/delta1": 0.5, "eval/made/not_asked_count": 0.0}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(ROOMS, ASKED)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ShardedSource:
    return write_made_source(open_store(str(tmp_path_factory.mktemp("made"))), "made", 1, 1)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Of a run whose export is there."""
    folder = tmp_path / "train" / "first"
    (folder / "export").mkdir(parents=True)
    (folder / "export" / "config.json").write_text("{}")
    return folder


def started(recipe: Recipe, runs_dir: Path) -> TrackedRun:
    prepare_tracking(recipe.tracking, runs_dir)
    return start_run(recipe.tracking, runs_dir, "first", "train")


def evaluations(recipe: Recipe, runs_dir: Path) -> list[str]:
    """What the registered versions were measured on, by number."""
    client = MlflowClient(tracking_uri(recipe.tracking, runs_dir))
    versions = client.search_model_versions(f"name = '{recipe.tracking.registered_model}'")
    return [v.tags["vlm3.evaluation"] for v in sorted(versions, key=lambda version: int(version.version))]


def test_a_run_is_trained_when_its_last_step_its_figures_and_its_score_are_there(
    recipe: Recipe, made: ShardedSource, tmp_path: Path
) -> None:
    assert not is_trained(tmp_path, recipe, (made,))
    for step in (recipe.train.steps - 1, recipe.train.steps):
        write_summary(tmp_path, {"loss_last": 1.0})
        folder = tmp_path / checkpoint_name(step)
        folder.mkdir()
        commit(folder, TrainState(step, Ledger.empty(), "{}", "f", 1, 0, (), ()), {})
        assert is_trained(tmp_path, recipe, ()) == (step == recipe.train.steps)
        assert not is_trained(tmp_path, recipe, (made,)), "it has no score"
    write_summary(tmp_path, {"eval/made/delta1": float("nan")})
    assert is_trained(tmp_path, recipe, (made,)), "measured, whatever came out"


def test_a_version_says_what_was_asked_and_how_much_could_not_be(
    recipe: Recipe, made: ShardedSource, run_dir: Path, tmp_path: Path
) -> None:
    run, request, export = started(recipe, tmp_path), RunRequest("first", tmp_path), run_dir / "export"
    asked = f"{made.fingerprint} images=30 points=7 seed=5"
    earlier = {"eval/made/delta1": 0.2}
    for metrics in (earlier, SCORED, SCORED | {"eval/made/not_asked_count": 12.0, "eval/made/delta1": 0.9}):
        result = finish(recipe, request, run, metrics, export, (made,))
        assert result.promoted == (result.version != 3), "of other points, and so not comparable"
    assert evaluations(recipe, tmp_path) == [asked, asked, f"{asked} not_asked=12"]


def test_nothing_is_registered_where_that_is_not_wanted_or_nothing_was_measured(
    recipe: Recipe, made: ShardedSource, run_dir: Path, tmp_path: Path
) -> None:
    run = started(recipe, tmp_path)
    for register, evaluated in ((False, (made,)), (True, ())):
        request = RunRequest("first", tmp_path, register=register)
        result = finish(recipe, request, run, SCORED, run_dir / "export", evaluated)
        assert (result.version, result.promoted, result.metrics) == (None, False, SCORED)
    assert evaluations(recipe, tmp_path) == []


def test_a_finished_run_is_registered_once_and_only_with_scores_of_its_own_questions(
    recipe: Recipe, made: ShardedSource, run_dir: Path, tmp_path: Path
) -> None:
    run, request = started(recipe, tmp_path), RunRequest("first", tmp_path, resume=True)
    write_run_file(run_dir, run.run_id, recipe)
    write_summary(run_dir, SCORED)
    other = load_recipe(ROOMS, [*ASKED, "evaluation.points=8"])
    with pytest.raises(CheckpointError, match=r"set evaluation.images=30 and evaluation.points=7"):
        complete(other, request, run_dir, run.run_id, (made,))
    folder = run_dir / checkpoint_name(recipe.train.steps)
    folder.mkdir()
    commit(folder, TrainState(recipe.train.steps, Ledger.empty(), "{}", "f", 1, 0, (), ()), {})
    assert finished(recipe, request, run_dir, run.run_id) is None, "it is not registered"
    first, again = (complete(recipe, request, run_dir, run.run_id, (made,)) for _ in range(2))
    assert (first.version, first.promoted) == (1, True) and (again.version, again.promoted) == (1, False)
    assert len(evaluations(recipe, tmp_path)) == 1
    assert finished(recipe, request, run_dir, run.run_id) == again, "known without a cluster"
    longer = load_recipe(ROOMS, [*ASKED, f"train.steps={recipe.train.steps + 1}"])
    assert finished(longer, request, run_dir, run.run_id) is None
