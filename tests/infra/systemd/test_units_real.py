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
from pathlib import Path

import psutil
import pytest

from pipelines.cluster import free_port
from tests.infra.systemd.test_units import command_of
from tests.job_runs import job_environment

pytestmark = pytest.mark.long
PATIENCE_S = 180
IMPATIENT_HEAD = {
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "4",
}
"""The head gives up a silent worker after some 15 s, by default after a minute; a busy machine is slow, not silent."""
ALIVE = """
import ray
ray.init(address="{address}", log_to_driver=False, logging_level="ERROR")
print(sum(node["Alive"] for node in ray.nodes()))
"""


SEVERAL_MACHINES = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}
"""With 0, Ray keeps to loopback by itself and takes no second machine."""


class Machine:
    """What systemd does for a unit on a machine, in a folder: the environment and the command."""

    def __init__(self, network: list[str], unit: str, folder: Path, environment: dict[str, str], *more: str) -> None:
        text = " ".join(command_of(unit)).replace("/var/lib/vlm3", str(folder))
        for name, value in environment.items():
            text = text.replace(f"${{{name}}}", value)
        binary = str(Path(sys.executable).parent / "ray")
        self.folder = folder
        for used in ("ray", "spill"):
            (folder / used).mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [*network, binary, *shlex.split(text)[1:], *more],
            env=job_environment({}, **(environment | SEVERAL_MACHINES)),
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def raylet(self) -> psutil.Process | None:
        """The process that is this machine's Ray, once it runs."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return next((child for child in children if child.name() == "raylet"), None)

    def end(self) -> None:
        """Stop the command and whatever it started."""
        children = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for child in children:
            if child.is_running():
                child.kill()


def awaited(what: str, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S} s"
        time.sleep(0.5)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Sockets have short paths."""
    folder = Path(tempfile.mkdtemp(prefix="vu", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def network() -> Iterator[list[str]]:
    """Begin of a command that runs in a network of its own, which has loopback only: Ray listens on all addresses."""
    if os.geteuid() != 0:
        pytest.skip("a network of its own is made as root only")
    script = "ip link set lo up && exec sleep infinity"
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", script])
    awaited("the network", lambda: Path(f"/proc/{holder.pid}/cmdline").read_bytes().startswith(b"sleep"))
    yield ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]
    holder.kill()
    holder.wait()


def test_a_worker_that_was_cut_off_ends_and_joins_when_it_is_started_anew(
    short_folder: Path, network: list[str]
) -> None:
    address = f"127.0.0.1:{free_port()}"
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "VLM3_HEAD": address}
    ports = [f"--dashboard-port={free_port()}", f"--ray-client-server-port={free_port()}"]
    machines: list[Machine] = []

    def alive() -> int:
        code = ALIVE.format(address=address)
        done = subprocess.run(
            [*network, sys.executable, "-c", code],
            env=job_environment({}, **(environment | SEVERAL_MACHINES)),
            capture_output=True,
            text=True,
            check=False,
        )
        return int(done.stdout.split()[-1]) if done.returncode == 0 else 0

    def worker(token: str) -> Machine:
        machines.append(
            Machine(network, "vlm3-ray-worker.service", short_folder / "w", environment | {"RAY_AUTH_TOKEN": token})
        )
        return machines[-1]

    try:
        head_environment = environment | IMPATIENT_HEAD
        ports.append(f"--port={address.split(':')[1]}")
        machines.append(Machine(network, "vlm3-ray-head.service", short_folder / "h", head_environment, *ports))
        awaited("the head", lambda: alive() == 1)

        stranger = worker(secrets.token_hex(32))
        awaited("the end of a worker with another token", lambda: stranger.process.poll() is not None)
        assert stranger.process.returncode != 0

        first = worker(environment["RAY_AUTH_TOKEN"])
        awaited("the worker", lambda: alive() == 2)
        raylet = first.raylet()
        assert raylet is not None
        os.kill(raylet.pid, signal.SIGSTOP)
        awaited("the head gives the worker up", lambda: alive() == 1)
        os.kill(raylet.pid, signal.SIGCONT)
        awaited("the end of the worker that was cut off", lambda: first.process.poll() is not None)
        assert first.process.returncode == 1
        assert alive() == 1

        worker(environment["RAY_AUTH_TOKEN"])
        awaited("the worker that was started anew", lambda: alive() == 2)
    finally:
        for machine in reversed(machines):
            machine.end()
