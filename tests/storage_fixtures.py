"""Real S3 servers on loopback, one of each kind for the whole test session."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.cluster import free_port
from vlm3.storage.store import Store, open_store

KEY, SECRET = "vlm3-test", "vlm3-test-secret"
START_TIMEOUT_S = 60


@dataclass(frozen=True)
class S3Server:
    """A server that runs, and how to reach it."""

    endpoint: str
    folder: Path | None
    """Where a server keeps its buckets as folders; None when it keeps them in memory."""

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for a process that uses the server."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """`rclone serve s3` with real signatures; a bucket is a folder of `folder`."""
    folder = tmp_path_factory.mktemp("rclone")
    port = free_port()
    binary = shutil.which("rclone", path=str(Path(sys.executable).parent)) or "rclone"
    command = [binary, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}"]
    with _running([*command, str(folder)], port, folder / "no-config"):
        yield S3Server(f"http://127.0.0.1:{port}", folder)


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """moto's server; strict about the protocol, accepts any secret."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, port, tmp_path_factory.mktemp("moto") / "no-config"):
        yield S3Server(f"http://127.0.0.1:{port}", None)


@pytest.fixture
def use_s3(monkeypatch: pytest.MonkeyPatch) -> Callable[[S3Server], None]:
    """Point this test's environment at a server."""

    def use(server: S3Server) -> None:
        for variable in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(variable)
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)

    return use


@pytest.fixture(params=["folder", "rclone", "moto"])
def store(request: pytest.FixtureRequest, tmp_path: Path, use_s3: Callable[[S3Server], None]) -> Store:
    """An empty store of each kind."""
    if request.param == "folder":
        return open_store(str(tmp_path / "store"))
    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    use_s3(server)
    name = f"b{abs(hash(request.node.nodeid)) % 10**9}"
    make_bucket(server, name)
    return open_store(f"s3://{name}/some/prefix")


def make_bucket(server: S3Server, name: str) -> None:
    """Make a bucket; the environment must point at the server."""
    import boto3

    boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1").create_bucket(Bucket=name)


@contextmanager
def _running(command: list[str], port: int, config: Path) -> Iterator[None]:
    environment = os.environ | {"RCLONE_CONFIG": str(config)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await_port(process, port)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _await_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"{process.args!r}: nothing listens on port {port} after {START_TIMEOUT_S} s")
