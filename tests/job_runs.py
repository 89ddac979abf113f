"""Jobs run as a user runs them: on the session's Ray, on one of their own, or where reaching for Ray is an error."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.our_lines import foreign

ROOT = Path(__file__).resolve().parent.parent
RayVariables = dict[str, str]
"""Environment variables that decide which Ray a job uses."""
OWN_RAY: RayVariables = {}
"""The job starts a private cluster, which takes 15 s and more: for tests whose subject that is."""
NO_RAY: RayVariables = {"RAY_ADDRESS": "127.0.0.1:1"}
"""Nothing answers there: what a job does with this it does without Ray."""


@pytest.fixture(scope="session")
def joined(ray_session: None) -> RayVariables:
    """The job joins the session's Ray, as one on a cluster does; its workers see the variables of that Ray's start."""
    import ray

    return {"RAY_ADDRESS": ray.get_runtime_context().gcs_address} | {
        name: os.environ[name]
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
        if name in os.environ
    }


def job_environment(ray: RayVariables, **variables: str) -> dict[str, str]:
    """The environment of a job: nothing of this process' own Ray but what `ray` says."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    # Every server stays on loopback; and a table in a log is as wide as its words.
    fixed = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2", "COLUMNS": "250"}
    return inherited | fixed | ray | variables


def run_job(
    ray: RayVariables, job: str, *arguments: object, timeout_s: float = 560, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `jobs/JOB.py ARGUMENTS` to its end, from the repository's root; it prints no line that is not ours."""
    done = subprocess.run(
        [sys.executable, f"jobs/{job}.py", *map(str, arguments)],
        cwd=ROOT,
        env=job_environment(ray, **variables),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode in (0, 2):
        assert foreign(done.stderr) == foreign(done.stdout) == []
    return done


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """The job said in one line, its last, what the user can put right, and ended with exit code 2."""
    assert done.returncode == 2, done.stderr[-3000:]
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in done.stderr, done.stderr[-3000:]
    for word in words:
        assert word in errors[0]
