"""Workers are killed between two checkpoints, and the run goes on with another number: exactly once, same samples."""

from pathlib import Path

import pytest
import ray.train
from mlflow import MlflowClient

from pipelines.run_end import TrainResult
from pipelines.runs import RunRequest
from pipelines.train import run_training
from tests.pipelines.interruptions import dying, interrupted
from tests.pipelines.test_train import recipe_data
from vlm3.tracking.runs import tracking_uri
from vlm3.train.checkpoint import read_state
from vlm3.train.recipe import Recipe
from vlm3.train.resume import latest_checkpoint

STEPS, BATCH = 12, 16
pytestmark = [pytest.mark.long, pytest.mark.usefixtures("ray_session")]


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all runs: their rooms are rendered once."""
    return tmp_path_factory.mktemp("runs")


def recipe(workers: int, *, deterministic: bool) -> Recipe:
    data = recipe_data(steps=STEPS, workers=workers, checkpoint_every_steps=2, max_restarts=0, gallery_samples=0)
    data["train"]["cpus_per_worker"] = 0.3
    data["engine"] = {"zero_stage": 0, "micro_batch": 3}
    data["evaluation"] = {"every_steps": STEPS, "images": 1, "points": 1, "sources": ["rooms"]}
    pairs = {"points": 4, "reference_range": 100, "templates": "compact-1"}
    data["tasks"]["correspondence"] = {"weight": 0.5, "focal_px": 50, "ask": pairs}
    data["stream"] = {"deterministic": deterministic, "read": {"positions": 64}}
    return Recipe.parse(data, "elastic")


def run_with_kills(
    runs_dir: Path, name: str, turns: tuple[tuple[int, int | None], ...], patch: pytest.MonkeyPatch
) -> TrainResult:
    """Runs of so many workers, each going on where the last one died; a worker dies after the step that is named."""
    run_dir = runs_dir / "train" / name
    for turn, (workers, last_step) in enumerate(turns):
        request = RunRequest(name, runs_dir, resume=turn > 0, register=False)
        given = recipe(workers, deterministic=True)
        if last_step is None:
            return run_training(given, request)
        with patch.context() as doomed, pytest.raises(ray.train.TrainingFailedError):
            doomed.setattr(
                "pipelines.train.work",
                interrupted(dying(workers - 1, last_step, runs_dir / f"died-{turn}")),
            )
            run_training(given, request)
        assert (runs_dir / f"died-{turn}").exists()
        reached = read_state(latest_checkpoint(run_dir))
        assert reached.step == last_step - 1, "the kill came between two checkpoints"
        consumed = reached.ledger.watermark + sum(stop - start for start, stop in reached.ledger.intervals)
        assert consumed == reached.step * BATCH
    raise AssertionError("unreachable: the last turn returns")


def losses(result: TrainResult, runs_dir: Path) -> dict[int, float]:
    client = MlflowClient(tracking_uri(recipe(1, deterministic=True).tracking, runs_dir))
    return {point.step: point.value for point in client.get_metric_history(result.run_id, "train/loss")}


@pytest.mark.floats
def test_killed_and_resumed_at_other_sizes_a_run_sees_each_position_once_and_learns_the_same(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = run_training(recipe(2, deterministic=True), RunRequest("whole", runs_dir, register=False))
    killed = run_with_kills(runs_dir, "killed", ((2, 3), (1, 7), (3, None)), monkeypatch)
    final = read_state(latest_checkpoint(runs_dir / "train" / "killed"))
    assert (final.step, final.ledger.watermark, final.ledger.intervals) == (STEPS, STEPS * BATCH, ())
    assert sum(final.seen) == STEPS * BATCH
    expected, found = losses(undisturbed, runs_dir), losses(killed, runs_dir)
    assert found.keys() == expected.keys() == set(range(1, STEPS + 1))
    # The same samples in the same steps, summed in another order.
    assert found == pytest.approx(expected, rel=1e-3)


def test_in_free_order_a_run_starts_itself_again_and_ends_with_exactly_its_positions(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = recipe(2, deterministic=False)
    free = free.model_copy(update={"train": free.train.model_copy(update={"max_restarts": 1})})
    monkeypatch.setattr("pipelines.train.work", interrupted(dying(0, 5, runs_dir / "died")))
    run_training(free, RunRequest("free", runs_dir, register=False))
    assert (runs_dir / "died").exists()
    final = read_state(latest_checkpoint(runs_dir / "train" / "free"))
    assert (final.step, final.ledger.watermark, final.ledger.intervals) == (STEPS, STEPS * BATCH, ())
