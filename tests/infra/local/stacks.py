"""A stack of a test's own: its folder, its ports, and its commands as a user gives them."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path

import psutil

from infra.local.credentials import Credentials
from infra.local.settings import ROOT, Ports
from infra.local.state import State
from tests.infra.local.tiny_parts import alive
from tests.left_out import need_command
from tests.pipelines.test_cluster_submit import free_ports

COMMANDS = {
    "PostgreSQL": "bin/postgres",
    "S3": "bin/rclone",
    "MLflow": "-m mlflow server",
    "Ray": "bin/ray start",
    "Prometheus": "bin/prometheus",
}
"""What the command line of each part's first process contains."""


@dataclass(frozen=True)
class Stack:
    """A stack that need not run."""

    folder: Path
    ports: Ports
    environment: dict[str, str]

    def does(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """`python -m infra.local.stack WORDS`."""
        return subprocess.run(
            [sys.executable, "-m", "infra.local.stack", *map(str, words)],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def up(self) -> float:
        """Start it; how many seconds that took."""
        begun = time.monotonic()
        done = self.does("up")
        assert done.returncode == 0, done.stderr + self.log()
        return time.monotonic() - begun

    @property
    def state(self) -> State:
        state = State.read(self.folder)
        assert state is not None
        return state

    def log(self) -> str:
        return (self.folder / "log" / "stack.log").read_text()

    def family(self) -> list[psutil.Process]:
        """All processes: the keeper, the supervisor, the parts and all that they have started."""
        keeper = psutil.Process(self.state.keeper)
        return [keeper, *keeper.children(recursive=True)]

    def supervisor(self) -> psutil.Process:
        (found,) = psutil.Process(self.state.keeper).children()
        return found

    def part(self, name: str) -> psutil.Process:
        """The first process of a part."""
        children = self.supervisor().children()
        (found,) = [child for child in children if COMMANDS[name] in " ".join(child.cmdline())]
        return found

    def client(self) -> dict[str, str]:
        """The environment of a shell that has read the file for clients."""
        lines = (self.folder / "secrets" / "client.env").read_text().splitlines()
        return self.environment | dict(line.split("=", 1) for line in lines)

    def secrets(self) -> tuple[str, ...]:
        return astuple(Credentials.of(self.folder))

    def listeners(self) -> list[int]:
        """Those of its ports where something listens."""
        listening = {entry.laddr.port for entry in psutil.net_connections("tcp") if entry.status == psutil.CONN_LISTEN}
        return [port for _, port in self.ports if port in listening]

    def assert_nothing_left(self, family: list[psutil.Process], within_s: float) -> None:
        """Everything of a family has ended, or does so soon."""
        deadline = time.monotonic() + within_s
        while left := alive(family):
            assert time.monotonic() < deadline, f"left: {left}\n{self.log()}"
            time.sleep(0.1)
        assert self.listeners() == []
        assert self.does("status").returncode == 2


@contextmanager
def a_stack() -> Iterator[Stack]:
    """One that does not run yet, in a folder that the account of PostgreSQL can enter."""
    need_command("pg_ctlcluster")
    need_command("prometheus")
    folder = Path(tempfile.mkdtemp(prefix="vs", dir="/tmp"))
    folder.chmod(0o755)
    names = list(Ports.model_fields)
    ports = Ports(**dict(zip(names, free_ports(len(names)), strict=True)))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_", "AWS_"))}
    chosen = {f"VLM3_STACK_PORT_{name.upper()}": str(port) for name, port in ports}
    fixed = {"VLM3_STACK": str(folder / "stack"), "RAY_TMPDIR": str(folder), "VLM3_RUNS": str(folder / "runs")}
    stack = Stack(folder / "stack", ports, inherited | chosen | fixed | {"COLUMNS": "250"})
    try:
        yield stack
    finally:
        stack.does("down")
        with suppress(psutil.NoSuchProcess, AssertionError):
            for process in alive(stack.family()):
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)
