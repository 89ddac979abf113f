"""The commands of the units, without systemd: a worker that was cut off ends, and joins when it is started anew."""

import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipelines.cluster import free_port
from tests.infra.systemd.test_units import command_of
from tests.job_runs import job_environment

pytestmark = [pytest.mark.long, pytest.mark.infra]
PATIENCE_S = 300
IMPATIENT_HEAD = {
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "5",
}
"""The head gives up a silent worker after some 30 s, by default after a minute; a busy machine is slow, not silent."""
SEVERAL_MACHINES = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
"""With 0 for the first, Ray keeps to loopback and takes no second machine."""
STARTED = "Ray runtime started"
COUNT = """
import sys
from ray._raylet import GcsClient
from ray.core.generated.gcs_pb2 import GcsNodeInfo

head = GcsClient(address=sys.argv[1])
for _ in sys.stdin:
    nodes = head.get_all_node_info(timeout=60).values()
    print(sum(node.state == GcsNodeInfo.ALIVE for node in nodes), flush=True)
"""
"""Answers each line of its input with the number of machines that the head counts."""


class Machine:
    """What systemd does for a unit on a machine of its own: its folder, its environment, its command."""

    def __init__(self, network: list[str], unit: str, folder: Path, environment: dict[str, str], *more: str) -> None:
        text = " ".join(command_of(unit)).replace("/var/lib/vlm3", str(folder))
        for name, value in environment.items():
            text = text.replace(f"${{{name}}}", value)
        binary = str(Path(sys.executable).parent / "ray")
        for used in ("ray", "spill"):
            (folder / used).mkdir(parents=True, exist_ok=True)
        self._out = folder / "out"
        with self._out.open("w", encoding="utf-8") as out:
            self.process = subprocess.Popen(
                [*network, binary, *shlex.split(text)[1:], *more],
                env=job_environment({}, **(environment | SEVERAL_MACHINES)),
                cwd=folder,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self) -> str:
        """What the command has printed."""
        return self._out.read_text(encoding="utf-8")

    def has_started(self) -> bool:
        """Whether Ray runs on this machine; an error when it ended instead."""
        assert self.process.poll() is None, self.said()[-3000:]
        return STARTED in self.said()

    def raylet(self) -> psutil.Process:
        """The process that is this machine's Ray."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        (found,) = [child for child in children if child.name() == "raylet"]
        return found

    def end(self) -> None:
        """End the command and whatever it started, as systemd does with a unit."""
        family: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        # What outlives a command that has ended is in its process group still.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def awaited(what: str, condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S} s"
        time.sleep(0.2)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Sockets have short paths."""
    made = Path(tempfile.mkdtemp(prefix="vu", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def network(command: Callable[[str], str]) -> Iterator[list[str]]:
    """How a command begins that runs in a network of its own, with loopback only: Ray listens on all addresses."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a network of its own")
    script = f"{command('ip')} link set lo up && echo up && exec sleep infinity"
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stderr is not None
    try:
        if holder.stdout.readline() != "up\n":
            pytest.skip(f"this machine allows no network of its own: {holder.stderr.read().strip()}")
        yield ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]
    finally:
        holder.kill()
        holder.communicate()


class Counter:
    """Asks the head how many machines it has: one process for all questions."""

    def __init__(self, network: list[str], address: str, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [*network, sys.executable, "-c", COUNT, address],
            env=job_environment({}, **(environment | SEVERAL_MACHINES)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def alive(self) -> int:
        """Machines that the head counts now."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def test_a_worker_that_was_cut_off_ends_and_joins_when_it_is_started_anew(folder: Path, network: list[str]) -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "VLM3_HEAD": address}
    ports = [f"--port={port}", f"--dashboard-port={free_port()}", f"--ray-client-server-port={free_port()}"]
    head = Machine(network, "vlm3-ray-head.service", folder / "h", environment | IMPATIENT_HEAD, *ports)
    machines = [head]

    def worker(token: str) -> Machine:
        variables = environment | {"RAY_AUTH_TOKEN": token}
        machines.append(Machine(network, "vlm3-ray-worker.service", folder / "w", variables))
        return machines[-1]

    counter = None
    try:
        awaited("the head", head.has_started)
        counter = Counter(network, address, environment)
        assert counter.alive() == 1

        stranger = worker(secrets.token_hex(32))
        assert stranger.process.wait(PATIENCE_S) != 0, "a worker with another token joined"
        assert counter.alive() == 1

        first = worker(environment["RAY_AUTH_TOKEN"])
        awaited("the worker", first.has_started)
        assert counter.alive() == 2
        raylet = first.raylet()
        raylet.send_signal(signal.SIGSTOP)
        awaited("the head gives the worker up", lambda: counter.alive() == 1)
        assert first.process.poll() is None
        raylet.send_signal(signal.SIGCONT)
        assert first.process.wait(PATIENCE_S) == 1, first.said()[-3000:]
        assert counter.alive() == 1

        again = worker(environment["RAY_AUTH_TOKEN"])
        awaited("the worker that was started anew", again.has_started)
        assert counter.alive() == 2
    finally:
        if counter is not None:
            counter.end()
        for machine in reversed(machines):
            machine.end()
