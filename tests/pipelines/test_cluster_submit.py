"""Jobs submitted to a real cluster on loopback, from the repository root."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from pipelines.cluster import free_port
from tests.job_runs import OWN_RAY, job_environment

REPOSITORY = Path(__file__).resolve().parents[2]
RAY = Path(sys.executable).parent / "ray"
ROOMS = "{scenes: 24, frames_per_scene: 2, width_px: 64, height_px: 48}"
SMALL = (
    f"sources={{rooms: {{weight: 1.0, render: {ROOMS}}}}}",
    "evaluation.sources=[rooms]",
    "evaluation.primary=rooms",
    "train.steps=2",
    "train.workers=1",
    "train.global_batch=8",
    "train.checkpoint_every_steps=2",
    "train.cpus_per_worker=0.5",
    "train.gallery_samples=0",
    "engine.micro_batch=4",
    "evaluation.images=1",
    "evaluation.points=1",
    "evaluation.every_steps=2",
)


pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Cluster:
    address: str
    dashboard: str
    environment: dict[str, str]
    head: subprocess.Popen[bytes]
    log: Path

    def submit(
        self, runs: Path, *arguments: str, settings: tuple[str, ...] = SMALL
    ) -> subprocess.CompletedProcess[str]:
        """`ray job submit` from the repository root; the environment reaches the job by its runtime environment."""
        runtime = json.dumps({"env_vars": {"VLM3_RUNS": str(runs)}})
        options = [item for setting in settings for item in ("--set", setting)]
        command = [str(RAY), "job", "submit", "--address", self.dashboard, "--runtime-env-json", runtime, *arguments]
        deadline = time.monotonic() + 120
        while True:
            done = subprocess.run(
                [*command, "--", sys.executable, "jobs/train.py", "--name", "submitted", "--continue", *options],
                cwd=REPOSITORY,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=400,
                check=False,
            )
            assert self.head.poll() is None, f"the head has ended: {self.log.read_text()[-4000:]}"
            # The dashboard answers before the node's agent has started.
            if "No available agent" not in done.stderr or time.monotonic() > deadline:
                return done
            time.sleep(1)


def free_ports(count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with cluster_on_loopback() as started:
        yield started


@contextlib.contextmanager
def cluster_on_loopback(**variables: str) -> Iterator[Cluster]:
    """A head with these environment variables, its log in its folder; all of it ends with the block."""
    folder = Path(tempfile.mkdtemp(prefix="vc", dir="/tmp"))
    port, dashboard, client, agent = free_ports(4)
    environment = job_environment(OWN_RAY, RAY_TMPDIR=str(folder), RAY_AUTH_MODE="disabled", **variables)
    command = [
        str(RAY),
        "start",
        "--head",
        "--block",
        "--num-cpus=4",
        f"--port={port}",
        f"--ray-client-server-port={client}",
        # Every Ray's agent takes port 52365 by default; without it a node takes no jobs.
        f"--dashboard-agent-listen-port={agent}",
    ]
    command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", "--node-ip-address=127.0.0.1"]
    log = folder / "head.log"
    with log.open("w") as output:
        head = subprocess.Popen(
            [*command, f"--temp-dir={folder}"], env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 120
        # `--block` ends the head when one of its processes ends: wait for both that a client talks to.
        while not (listens(dashboard) and listens(client)):
            if head.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"no head: {log.read_text()[-2000:]}")
            time.sleep(0.3)
        yield Cluster(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", environment, head, log)
    finally:
        # Ray's own farewell waits half a minute for its agents.
        family = [head_process := psutil.Process(head.pid), *head_process.children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("arguments", [(), ("--working-dir", ".")], ids=["in place", "working dir"])
def test_a_submitted_job_trains_and_leaves_an_export(
    cluster: Cluster, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = cluster.submit(tmp_path / "runs", *arguments)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "succeeded" in done.stdout
    assert (tmp_path / "runs" / "train" / "submitted" / "export" / "model.safetensors").is_file()
    assert (tmp_path / "runs" / "mlflow.db").is_file()
    again = cluster.submit(tmp_path / "runs", *arguments)
    assert again.returncode == 0 and "run submitted is finished: nothing to do" in again.stdout + again.stderr


def test_a_wrong_recipe_fails_the_job_with_one_clear_line(cluster: Cluster, tmp_path: Path) -> None:
    done = cluster.submit(tmp_path / "runs", settings=("train.stepz=2",))
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert re.search(r"error: .*stepz.*did you mean 'steps'", said), said[-3000:]
    assert "Traceback" not in said.split("Job", 1)[0]
    assert not (tmp_path / "runs" / "train").exists()
