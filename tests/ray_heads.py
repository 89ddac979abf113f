"""Ray clusters on loopback of one head, as `ray start --head` makes them, and the small training that tests submit."""

import contextlib
import os
import shutil
import signal
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
from tests.job_runs import RayVariables, job_environment

RAY = Path(sys.executable).parent / "ray"
START_S, STARTS = 120, 3
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
"""Settings of a training of two steps."""


@dataclass(frozen=True)
class Head:
    """A head that runs."""

    address: str
    dashboard: str
    client: RayVariables
    """What a client that shares nothing but the machine has to know, with the address."""
    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:]


def free_ports(count: int) -> list[int]:
    """Different ports on loopback where nothing listens."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)


@contextlib.contextmanager
def head_on_loopback(*options: str, cpus: int, port: int | None = None, **variables: str) -> Iterator[Head]:
    """A head in a folder of its own; all of it ends with the block.

    Args:
        options: more of `ray start`.
        cpus: logical CPUs of the head.
        port: of the head, where the caller has to know it before; any free one else.
        variables: of the head's environment, and so of its jobs.
    """
    folder = Path(tempfile.mkdtemp(prefix="vc", dir="/tmp"))
    drawn = [free for free in free_ports(5) if free != port]
    port = port or drawn.pop()
    dashboard, client, agent = drawn[:3]
    known = {"RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": str(folder)}
    numbers = {
        "num-cpus": cpus,
        "port": port,
        "dashboard-port": dashboard,
        "ray-client-server-port": client,
        # Every Ray's agent takes port 52365 by default; without it a node takes no jobs.
        "dashboard-agent-listen-port": agent,
    }
    command = [str(RAY), "start", "--head", "--block", "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"]
    command += [f"--temp-dir={folder}", *(f"--{name}={number}" for name, number in numbers.items()), *options]
    environment, log = job_environment(known, **variables), folder / "head.log"
    head = None
    try:
        for _ in range(STARTS):
            with log.open("a") as output:
                process = subprocess.Popen(
                    command, env=environment, stdout=output, stderr=output, start_new_session=True
                )
            address = f"127.0.0.1:{port}"
            client_variables = known | {"RAY_ADDRESS": address}
            head = Head(address, f"http://127.0.0.1:{dashboard}", client_variables, process, log)
            if _is_up(head, (port, dashboard, client)):
                break
            _end(process)
        else:
            pytest.fail(f"no head: {log.read_text()[-2000:]}")
        yield head
    finally:
        if head is not None:
            _end(head.process)
        shutil.rmtree(folder, ignore_errors=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a head and what it has started: Ray's own farewell waits half a minute for its agents."""
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
    # What outlives a head that has ended is in its process group still.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
    psutil.wait_procs(family, timeout=30)


def _is_up(head: Head, ports: tuple[int, ...]) -> bool:
    """Wait for all that a client talks to: `--block` ends the head when one of its processes ends.

    False when it has ended: Ray gives up a node that has not started within 30 s, as on a busy machine.
    """
    deadline = time.monotonic() + START_S
    while not all(_listens(port) for port in ports):
        if head.process.poll() is not None:
            return False
        if time.monotonic() > deadline:
            pytest.fail(f"no head: {head.said()}")
        time.sleep(0.3)
    return True


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
