"""Workers are killed at random steps, and the run goes on with another number of them: exactly once, same samples."""

import contextlib
import random
import threading
import time
from pathlib import Path

import psutil
import pytest
import ray.train
from mlflow import MlflowClient

from pipelines.train import RunRequest, TrainResult, run_training
from tests.pipelines.test_train import recipe_data
from vlm3.tracking.runs import tracking_uri
from vlm3.train.checkpoint import read_state
from vlm3.train.progress import read_progress
from vlm3.train.recipe import Recipe
from vlm3.train.resume import latest_checkpoint

STEPS, BATCH = 24, 16
pytestmark = [pytest.mark.long, pytest.mark.usefixtures("ray_session")]


def recipe(workers: int, *, deterministic: bool) -> Recipe:
    data = recipe_data(steps=STEPS, workers=workers, checkpoint_every_steps=2, max_restarts=0, gallery_samples=0)
    data["train"]["cpus_per_worker"] = 0.3
    data["engine"] = {"zero_stage": 0, "micro_batch": 3}
    data["evaluation"] = {"every_steps": STEPS, "images": 1, "points": 1, "sources": ["rooms"]}
    pairs = {"points": 4, "reference_range": 100, "templates": "compact-1"}
    data["tasks"]["correspondence"] = {"weight": 0.5, "focal_px": 70, "ask": pairs}
    data["stream"] = {"deterministic": deterministic, "read": {"positions": 64}}
    return Recipe.parse(data, "elastic")


def train_workers() -> list[psutil.Process]:
    """Ray's training workers on this machine that descend from this process."""
    found = []
    for process in psutil.Process().children(recursive=True):
        # Processes come and go meanwhile; one that has ended and was not waited for has no name left.
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(part.startswith("ray::RayTrainWorker") for part in process.cmdline()[:1]):
                found.append(process)
    return found


def kill_one_after(run_dir: Path, step: int, rng: random.Random) -> threading.Thread:
    """A thread that kills one worker of the run that starts now, without warning, once it has done `step` steps."""
    # A run before this one may still be clearing up.
    earlier = {process.pid for process in train_workers()}

    def watch() -> None:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            now = read_progress(run_dir) if run_dir.exists() else None
            if now is not None and now.step >= step:
                victims = [process for process in train_workers() if process.pid not in earlier]
                assert victims, "no training worker was found"
                rng.choice(victims).kill()
                return
            time.sleep(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def run_with_kills(runs_dir: Path, name: str, sizes: tuple[int, ...], *, deterministic: bool) -> TrainResult:
    """Kill a worker of each run but the last, and go on with the next number of workers."""
    rng, run_dir = random.Random(name), runs_dir / "train" / name
    for turn, workers in enumerate(sizes):
        request = RunRequest(name, runs_dir, resume=turn > 0, register=False)
        if turn == len(sizes) - 1:
            return run_training(recipe(workers, deterministic=deterministic), request)
        done = read_progress(run_dir).step if turn else 0
        killer = kill_one_after(run_dir, done + rng.randint(3, 5), rng)
        with pytest.raises(ray.train.TrainingFailedError):
            run_training(recipe(workers, deterministic=deterministic), request)
        killer.join()
        reached = read_state(latest_checkpoint(run_dir))
        assert 0 < reached.step < STEPS, "the kill was to come between two checkpoints"
        assert reached.ledger.count == reached.step * BATCH
    raise AssertionError("unreachable: the last turn returns")


def losses(result: TrainResult, runs_dir: Path) -> dict[int, float]:
    client = MlflowClient(tracking_uri(recipe(1, deterministic=True).tracking, runs_dir))
    return {point.step: point.value for point in client.get_metric_history(result.run_id, "train/loss")}


def test_killed_and_resumed_at_other_sizes_a_run_sees_each_position_once_and_learns_the_same(tmp_path: Path) -> None:
    undisturbed = run_training(recipe(2, deterministic=True), RunRequest("whole", tmp_path, register=False))
    killed = run_with_kills(tmp_path, "killed", (2, 1, 3), deterministic=True)
    final = read_state(latest_checkpoint(tmp_path / "train" / "killed"))
    assert (final.step, final.ledger.watermark, final.ledger.intervals) == (STEPS, STEPS * BATCH, ())
    assert sum(final.seen) == STEPS * BATCH
    expected, found = losses(undisturbed, tmp_path), losses(killed, tmp_path)
    assert found.keys() == expected.keys() == set(range(1, STEPS + 1))
    # The same samples in the same steps, summed in another order.
    assert found == pytest.approx(expected, rel=1e-3)


def test_in_free_order_a_run_starts_itself_again_and_ends_with_exactly_its_positions(tmp_path: Path) -> None:
    free = recipe(2, deterministic=False)
    free = free.model_copy(update={"train": free.train.model_copy(update={"max_restarts": 1})})
    killer = kill_one_after(tmp_path / "train" / "free", 5, random.Random(0))
    run_training(free, RunRequest("free", tmp_path, register=False))
    killer.join()
    final = read_state(latest_checkpoint(tmp_path / "train" / "free"))
    assert (final.step, final.ledger.watermark, final.ledger.intervals) == (STEPS, STEPS * BATCH, ())
