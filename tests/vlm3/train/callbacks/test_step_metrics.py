"""Figures of steps: shares asked and realised over changes of the weights, rates, repetition."""

from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from vlm3.mixture.plan import ComponentSize, MixturePlan
from vlm3.stream.parcels import Cost
from vlm3.tracking.config import TrackingConfig
from vlm3.tracking.runs import TrackedRun, prepare_tracking, start_run
from vlm3.train.callbacks.step_metrics import StepMetrics
from vlm3.train.engine import StepStats
from vlm3.train.loop import LoopState, StepOutcome
from vlm3.train.progress import read_progress

NAMES, BATCH, STEPS = ("a/depth", "b/depth"), 64, 20
SIZES = (ComponentSize("a/depth", 4, 8, "fa"), ComponentSize("b/depth", 8, 8, "fb"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrackedRun:
    folder = tmp_path_factory.mktemp("runs")
    prepare_tracking(TrackingConfig(), folder)
    return start_run(TrackingConfig(), folder, "metrics", "evaluation")


def losses(step: int) -> np.ndarray:
    """Ten tokens of each component: the first one's loss falls from 2, the second one's stays at 1."""
    return np.array([[10 * (2.0 - step / 20), 10], [10.0, 10]])


def watched(run: TrackedRun, folder: Path, plan: MixturePlan) -> tuple[StepMetrics, LoopState, list[dict[str, float]]]:
    """The metrics after a whole run of the plan, its state, and what was published at each step."""
    published: list[dict[str, float]] = []
    metrics = StepMetrics(run, folder, STEPS, BATCH, NAMES, lambda: plan, published.append)
    state = LoopState.fresh(2)
    for step in range(STEPS):
        draws = plan.draws(step * BATCH, (step + 1) * BATCH)
        received = np.stack([draws.position, draws.component, np.zeros(BATCH, np.int64)], axis=1)
        state.consume(received)
        stats = StepStats(2.0 - step / 20, 1.0, 1e-3, 100, losses(step))
        metrics.after_step(StepOutcome(step + 1, stats, received, (), Cost(2, 6400, 1, 0.64, 1.28), 0.5, 0.1), state)
    return metrics, state, published


def test_a_run_that_ended_and_is_exported_again_has_a_summary(run: TrackedRun, tmp_path: Path) -> None:
    metrics = StepMetrics(run, tmp_path, STEPS, BATCH, NAMES, lambda: MixturePlan.start(SIZES, [1, 1], 0, 1024), dict)
    state = LoopState.fresh(2)
    state.seen[:] = 5
    summary = metrics.summary(state)
    assert "loss_last/a/depth" not in summary and summary["realised/a/depth"] == 0.5
    assert "loss_first" not in summary and np.isfinite(list(summary.values())).all(), "what it did not see"


def test_shares_and_rates_are_those_of_the_samples(run: TrackedRun, tmp_path: Path) -> None:
    plan = MixturePlan.start(SIZES, [0.75, 0.25], 0, 1024)
    metrics, state, published = watched(run, tmp_path, plan)
    last = published[-1]
    assert (last["mixture/a/depth/asked"], last["mixture/a/depth/realised"]) == (0.75, 0.75)
    assert last["mixture/a/depth/epochs"] == pytest.approx(0.75 * STEPS * BATCH / 32)
    assert (last["data/samples_per_s"], last["data/bytes_per_s"], last["data/wait_share"]) == (128, 12800, 0.2)
    assert (last["data/read_ms_per_sample"], last["data/decode_ms_per_sample"]) == (10, 20)
    assert last["mixture/a/depth/samples_per_s"] == 96
    assert [(each["train/step"], each["train/total_steps"]) for each in published] == [(n, 20) for n in range(1, 21)]
    assert last["mixture/a/depth/loss"] == pytest.approx(2 - 14.5 / 20) and last["mixture/b/depth/loss"] == 1
    summary = metrics.summary(state)
    assert summary["loss_first/a/depth"] == pytest.approx(2 - 4.5 / 20)
    assert summary["loss_last/a/depth"] == pytest.approx(2 - 14.5 / 20)
    assert summary["realised/a/depth"] == summary["asked/a/depth"] == 0.75
    assert summary["mixture_worst_window_error"] < 100 * 2 / 512
    assert (summary["loss_first"], summary["samples_replaced"]) == (2.0, 0.0)
    progress = read_progress(tmp_path)
    assert progress is not None and progress.step == STEPS


def test_a_change_of_the_weights_is_followed_and_told(run: TrackedRun, tmp_path: Path) -> None:
    plan = MixturePlan.start(SIZES, [0.75, 0.25], 0, 1024).change(10 * BATCH, [0.25, 0.75], 0, "2026-01-01T00:00:00Z")
    metrics, state, published = watched(run, tmp_path, plan)
    assert [figures["mixture/b/depth/asked"] for figures in published] == [0.25] * 10 + [0.75] * 10
    summary = metrics.summary(state)
    assert summary["asked/b/depth"] == summary["realised/b/depth"] == 0.5
    assert summary["mixture_worst_window_error"] < 100 * 2 / 512, "no window reaches over the change"
    client = MlflowClient(run.uri)
    changes = Path(client.download_artifacts(run.run_id, "mixture/changes.tsv", str(tmp_path))).read_text()
    assert [line.split("\t")[:3] for line in changes.splitlines()[1:]] == [["0", "1", "start"], ["640", "11", "live"]]
