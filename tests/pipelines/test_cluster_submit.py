"""Jobs submitted to a real cluster on loopback, from the repository root."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.job_runs import OWN_RAY, ROOT, job_environment
from tests.ray_heads import RAY, SMALL, Head, head_on_loopback

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with head_on_loopback(cpus=4) as started:
        yield started


def submit(
    head: Head, runs: Path, *arguments: str, settings: tuple[str, ...] = SMALL
) -> subprocess.CompletedProcess[str]:
    """`ray job submit` from the repository root; the environment reaches the job by its runtime environment."""
    runtime = json.dumps({"env_vars": {"VLM3_RUNS": str(runs)}})
    options = [item for setting in settings for item in ("--set", setting)]
    command = [str(RAY), "job", "submit", "--address", head.dashboard, "--runtime-env-json", runtime, *arguments]
    deadline = time.monotonic() + 120
    while True:
        done = subprocess.run(
            [*command, "--", sys.executable, "jobs/train.py", "--name", "submitted", "--continue", *options],
            cwd=ROOT,
            env=job_environment(OWN_RAY, RAY_AUTH_MODE="disabled"),
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert head.process.poll() is None, f"the head has ended: {head.said()}"
        # The dashboard answers before the node's agent has started.
        if "No available agent" not in done.stderr or time.monotonic() > deadline:
            return done
        time.sleep(1)


def test_a_submitted_job_trains_and_leaves_an_export(head: Head, tmp_path: Path) -> None:
    # With its folder sent along; tests/infra submits one that stays where it is.
    done = submit(head, tmp_path / "runs", "--working-dir", ".")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "succeeded" in done.stdout
    assert (tmp_path / "runs" / "train" / "submitted" / "export" / "model.safetensors").is_file()
    assert (tmp_path / "runs" / "mlflow.db").is_file()
    again = submit(head, tmp_path / "runs")
    assert again.returncode == 0 and "run submitted is finished: nothing to do" in again.stdout + again.stderr


def test_a_wrong_recipe_fails_the_job_with_one_clear_line(head: Head, tmp_path: Path) -> None:
    done = submit(head, tmp_path / "runs", settings=("train.stepz=2",))
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert re.search(r"error: .*stepz.*did you mean 'steps'", said), said[-3000:]
    assert "Traceback" not in said.split("Job", 1)[0]
    assert not (tmp_path / "runs" / "train").exists()
