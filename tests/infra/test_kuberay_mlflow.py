"""MLflow started with what its pod is given: who may ask, under which name, and where it keeps its files."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from pipelines.cluster import free_port
from tests.infra.kuberay_manifests import Manifest, built

pytestmark = pytest.mark.long  # a server that first makes its tables

DISK = "/mlflow"
READY_S = 300
USER = ("ann", "only-for-this-test")
"""What the Secrets of infra/kuberay/README.md would hold."""


def _one(kind: str) -> Manifest:
    (found,) = [manifest for manifest in built("mlflow") if manifest["kind"] == kind]
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """URL of a server on loopback, and the folder that stands for its disk."""
    disk, port = tmp_path_factory.mktemp("mlflow"), free_port()
    (container,) = _one("Deployment")["spec"]["template"]["spec"]["containers"]
    config = disk / "basic_auth.ini"
    config.write_text(_one("ConfigMap")["data"]["basic_auth.ini"].replace(f"{DISK}/", f"{disk}/"))
    assert container["command"] == ["mlflow", "server"]
    moved = {"--host=0.0.0.0": "--host=127.0.0.1", "--port=5000": f"--port={port}"}
    assert moved.keys() <= set(container["args"])
    arguments = [moved.get(argument, argument).replace(f"={DISK}/", f"={disk}/") for argument in container["args"]]
    environment = {variable["name"]: variable["value"] for variable in container["env"]} | {
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{disk}/mlflow.db",
        "MLFLOW_AUTH_ADMIN_USERNAME": USER[0],
        "MLFLOW_AUTH_ADMIN_PASSWORD": USER[1],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "only-for-this-test",
    }
    log = disk / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *arguments],
            env=os.environ | environment,
            cwd=disk,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}", disk
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            # As Kubernetes' probes ask: without a user, and with the address of a pod.
            if httpx2.get(f"{url}/health", headers={"Host": "100.64.3.7:5000"}, trust_env=False).status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


def _search(url: str, host: str, user: tuple[str, str] | None) -> int:
    where = f"{url}/api/2.0/mlflow/experiments/search?max_results=5"
    return httpx2.get(where, headers={"Host": host}, auth=user, timeout=30, trust_env=False).status_code


@pytest.mark.parametrize(
    ("host", "user", "status"),
    [
        ("mlflow:5000", USER, 200),
        ("localhost:5000", USER, 200),
        ("mlflow:5000", None, 401),
        ("mlflow:5000", (USER[0], "wrong"), 401),
        ("elsewhere.test:5000", USER, 403),
    ],
)
def test_pods_are_answered_by_the_name_of_the_service_and_with_their_password(
    server: tuple[str, Path], host: str, user: tuple[str, str] | None, status: int
) -> None:
    url, _ = server
    assert _search(url, host, user) == status


def test_runs_users_and_artifacts_stay_on_the_disk(server: tuple[str, Path]) -> None:
    url, disk = server
    artifact = f"{url}/api/2.0/mlflow-artifacts/artifacts/a/b.txt"
    sent = httpx2.put(artifact, content=b"x", headers={"Host": "mlflow:5000"}, auth=USER, trust_env=False)
    assert sent.status_code == 200, sent.text
    assert (disk / "artifacts" / "a" / "b.txt").read_bytes() == b"x"
    assert (disk / "mlflow.db").is_file() and (disk / "users.db").is_file()
