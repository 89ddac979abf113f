"""What listens while jobs run: loopback only, but for the listeners that docs/security.md names."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.job_runs import OWN_RAY, job_environment
from tests.our_lines import foreign
from tests.ray_heads import free_ports

REPOSITORY = Path(__file__).resolve().parents[2]
LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


def known() -> set[str]:
    """Processes that the table in docs/security.md allows to listen elsewhere."""
    rows = re.findall(
        r"^\| `(ray::\w+)` \| .+ \| `\[::\]` \| .+ \|$", (REPOSITORY / "docs" / "security.md").read_text(), re.M
    )
    assert rows, "docs/security.md has lost its table"
    return set(rows)


def listeners(root: psutil.Process) -> set[tuple[str, str]]:
    """(process, address) of every TCP listener in a process tree."""
    found = set()
    for process in [root, *root.children(recursive=True)]:
        try:
            # Ray's workers call themselves `ray::Class.method`.
            name = re.split(r"[.:( ]", process.cmdline()[0].removeprefix("ray::"))[0] if process.cmdline() else "?"
            label = f"ray::{name}" if process.cmdline() and process.cmdline()[0].startswith("ray::") else process.name()
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    found.add((label, connection.laddr.ip))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def cluster_processes(root: psutil.Process) -> list[psutil.Process]:
    """Those of a private Ray that all others come from."""
    found = [process for process in root.children(recursive=True) if process.name() in ("gcs_server", "raylet")]
    assert len(found) == 2
    return found


@contextmanager
def job(*command: str | Path, runs: Path, **variables: str) -> Iterator[psutil.Process]:
    with (runs / "job.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=REPOSITORY,
            env=job_environment(OWN_RAY, VLM3_RUNS=str(runs), **variables),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield psutil.Process(process.pid)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(120)


def watch(root: psutil.Process, runs: Path, done) -> set[tuple[str, str]]:
    """Everything that listened until `done()`."""
    seen: set[tuple[str, str]] = set()
    deadline = time.monotonic() + 300
    while not done():
        assert time.monotonic() < deadline, (runs / "job.log").read_text()[-3000:]
        seen |= listeners(root)
        # A look is a sample, and takes a core for a while: not all the time.
        time.sleep(2.5)
    return seen | listeners(root) if root.is_running() else seen


def strangers(seen: set[tuple[str, str]]) -> set[tuple[str, str]]:
    return {(name, address) for name, address in seen if address not in LOOPBACK and name not in known()}


def test_a_server_listens_on_loopback_only(tmp_path: Path, export_dir: Path) -> None:
    (port,) = free_ports(1)
    # As a batch system gives one to each job: too long a path for Ray's sockets.
    temporary = tmp_path / "people" / "a-user-name" / "slurm_jobdir" / "1355700" / "tmp.t0016"
    temporary.mkdir(parents=True)
    command = ("jobs/serve_depth.py", "--model", export_dir, "--port", str(port))
    with job(*command, runs=tmp_path, TMPDIR=str(temporary)) as root:
        seen = watch(root, tmp_path, lambda: "until Ctrl-C" in (tmp_path / "job.log").read_text())
        with socket.create_connection(("127.0.0.1", port), timeout=10):
            pass
        variables = [process.environ() for process in cluster_processes(root)]
    assert {"raylet", "ray::ProxyActor"} <= {name for name, _ in seen}, f"only {seen} was seen"
    assert strangers(seen) == set()
    assert foreign((tmp_path / "job.log").read_text()) == []
    # Beside another Ray, parts of a private one would else look for that one.
    (address,) = {known.get("RAY_ADDRESS") for known in variables}
    assert address is not None and address.startswith("127.0.0.1:")
    assert {known["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] for known in variables} == {"60"}


def test_a_listener_on_all_interfaces_is_noticed() -> None:
    with socket.socket() as open_socket:
        open_socket.bind(("0.0.0.0", 0))
        open_socket.listen()
        own = listeners(psutil.Process())
    assert any(address == "0.0.0.0" for _, address in strangers(own))
