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

import boto3
import psutil
import psycopg

from infra.local import s3
from infra.local.credentials import Credentials
from infra.local.settings import ROOT, Ports, Settings
from infra.local.state import State, running_state
from tests.infra.local.tiny_parts import alive
from tests.left_out import need_command
from tests.ray_heads import free_ports

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

    def mlflow(self, script: str) -> str:
        """What a script prints that uses MLflow as a user does whose shell has read the file for clients."""
        head = "from mlflow import MlflowClient, artifacts; client = MlflowClient()\n"
        done = subprocess.run(
            [sys.executable, "-c", head + script], env=self.client(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip()

    def settings(self) -> Settings:
        return Settings(self.folder, self.ports, self.state.cpus)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """Answer of the database."""
        where = {"host": "127.0.0.1", "port": self.ports.postgres, "user": "mlflow", "dbname": "mlflow"}
        with psycopg.connect(**where, password=Credentials.of(self.folder).postgres_password) as connection:
            return connection.execute(query).fetchall()

    def objects(self) -> list[str]:
        """Keys in MLflow's bucket."""
        variables = s3.client(self.settings(), Credentials.of(self.folder))
        client = boto3.client(
            "s3",
            endpoint_url=variables["AWS_ENDPOINT_URL_S3"],
            aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
            region_name=s3.REGION,
        )
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=s3.BUCKET)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def command_lines(self) -> set[str]:
        """Those of all its processes."""
        found = set()
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                found.add(" ".join(process.cmdline()))
        return found

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
    # Often, so that short jobs are seen.
    fixed |= {"RAY_metrics_report_interval_ms": "2000", "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "100"}
    stack = Stack(folder / "stack", ports, inherited | chosen | fixed | {"COLUMNS": "250"})
    try:
        yield stack
    finally:
        stack.does("down")
        if running_state(stack.folder) is not None:
            with suppress(psutil.NoSuchProcess):
                for process in alive(stack.family()):
                    process.kill()
        shutil.rmtree(folder, ignore_errors=True)
