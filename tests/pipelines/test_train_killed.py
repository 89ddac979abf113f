"""A job that is killed, Ray and all, goes on where its last checkpoint was; and nothing of it listens to strangers."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.job_runs import OWN_RAY, job_environment
from tests.pipelines.test_cluster_listeners import job, strangers, watch
from tests.pipelines.test_train import recipe_data
from vlm3.train.checkpoint import TrainState, read_state
from vlm3.train.resume import latest_checkpoint

ROOT = Path(__file__).resolve().parents[2]
STEPS, BATCH, KILLED_AFTER = 6, 16, 4
pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Resumed:
    """What was left by a killed job and by the one that went on."""

    reached: TrainState
    """At the kill."""
    final: TrainState
    log: str
    """Terminal and log files."""
    listeners: set[tuple[str, str]]
    """(process, address) of all that listened meanwhile."""


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Resumed:
    runs = tmp_path_factory.mktemp("killed")
    data = recipe_data(steps=STEPS, checkpoint_every_steps=3, gallery_samples=0)
    data["evaluation"]["every_steps"] = STEPS
    (runs / "recipe.yaml").write_text(json.dumps(data))
    command = ["jobs/train.py", str(runs / "recipe.yaml"), "--runs", str(runs), "--no-register"]
    run_dir, waits = runs / "train" / "killed", runs / "waits"
    started = [sys.executable, "tests/pipelines/interruptions.py", str(KILLED_AFTER), str(waits), *command]
    environment = job_environment(OWN_RAY, PYTHONPATH=str(ROOT))
    with subprocess.Popen([*started, "--name", "killed"], cwd=ROOT, env=environment, start_new_session=True) as process:
        try:
            while not waits.exists() and process.poll() is None:
                time.sleep(0.1)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert waits.exists(), "the run ended before the step after which it was to be killed"
    reached = read_state(latest_checkpoint(run_dir))
    with job(*command, "--resume", "killed", runs=runs) as root:
        seen = watch(root, runs, lambda: not root.is_running() or root.status() == psutil.STATUS_ZOMBIE)
    log = "".join(path.read_text() for path in (runs / "job.log", *sorted((run_dir / "log").glob("*.log"))))
    assert (run_dir / "export").is_dir(), log[-3000:]
    return Resumed(reached, read_state(latest_checkpoint(run_dir)), log, seen)


def test_a_killed_run_continues_at_its_step_and_stream_position(resumed: Resumed) -> None:
    reached, final = resumed.reached, resumed.final
    assert reached.step == KILLED_AFTER - 1, "the run was killed between its first checkpoint and its end"
    assert f"at step {reached.step}, stream position {reached.ledger.watermark}" in resumed.log
    assert (final.step, final.ledger.watermark, final.ledger.intervals) == (STEPS, STEPS * BATCH, ())


def test_training_listens_on_loopback_only(resumed: Resumed) -> None:
    assert {"raylet", "gcs_server", "ray::RayTrainWorker"} <= {name for name, _ in resumed.listeners}
    assert strangers(resumed.listeners) == set()
