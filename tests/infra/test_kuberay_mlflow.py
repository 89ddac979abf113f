"""MLflow started with what its pod is given: who may ask, under which name, what users may do, where it keeps files."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pipelines.cluster import free_port
from tests.infra.kuberay_manifests import Manifest, built
from vlm3.tracking.config import TrackingConfig

pytestmark = [pytest.mark.long, pytest.mark.infra]  # a server that first makes its tables

DISK = "/mlflow"
READY_S = 300
USER = ("ann", "only-for-this-test")
"""What the Secrets of infra/kuberay/README.md would hold."""
User = tuple[str, str]
OWNER: User = ("owner", "owner-of-this-test")
COLLEAGUE: User = ("colleague", "colleague-of-this-test")
NAMES = TrackingConfig()


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


class Asked:
    """The server, and what one user gets from it."""

    def __init__(self, url: str) -> None:
        self._url = url

    def status(self, user: User, path: str, **values: Any) -> int:
        """Status of a POST of `values`, or of a GET when there are none."""
        return self._ask(user, path, values).status_code

    def answer(self, user: User, path: str, **values: Any) -> dict[str, Any]:
        """What a POST that must be allowed answers."""
        answer = self._ask(user, path, values)
        assert answer.status_code == 200, answer.text
        read: dict[str, Any] = answer.json()
        return read

    def _ask(self, user: User, path: str, values: dict[str, Any]) -> httpx2.Response:
        return httpx2.request(
            "POST" if values else "GET",
            f"{self._url}/api/{path}",
            headers={"Host": "mlflow:5000"},
            auth=user,
            json=values or None,
            timeout=60,
            trust_env=False,
        )


def test_users_read_what_others_made_and_change_it_only_with_a_permission(server: tuple[str, Path]) -> None:
    asked = Asked(server[0])
    for name, password in (OWNER, COLLEAGUE):
        asked.answer(USER, "2.0/mlflow/users/create", username=name, password=password)
    made = asked.answer(OWNER, "2.0/mlflow/experiments/create", name=NAMES.experiment)
    experiment = made["experiment_id"]
    run = asked.answer(OWNER, "2.0/mlflow/runs/create", experiment_id=experiment)["run"]["info"]["run_id"]
    asked.answer(OWNER, "2.0/mlflow/registered-models/create", name=NAMES.registered_model)

    model = f"2.0/mlflow/registered-models/get?name={NAMES.registered_model}"
    assert [asked.status(COLLEAGUE, path) for path in (f"2.0/mlflow/runs/get?run_id={run}", model)] == [200, 200]

    def changes() -> list[int]:
        version = {"name": NAMES.registered_model, "source": f"mlflow-artifacts:/{experiment}/{run}/artifacts/model"}
        return [
            asked.status(COLLEAGUE, "2.0/mlflow/runs/create", experiment_id=experiment),
            asked.status(COLLEAGUE, "2.0/mlflow/runs/log-metric", run_id=run, key="a", value=1, timestamp=1),
            asked.status(COLLEAGUE, "2.0/mlflow/model-versions/create", **version, run_id=run),
        ]

    assert changes() == [403, 403, 403]
    for kind, name in (("experiment", experiment), ("registered_model", NAMES.registered_model)):
        grant = {"resource_type": kind, "resource_id": name, "permission": "EDIT", "username": COLLEAGUE[0]}
        assert asked.status(COLLEAGUE, "3.0/mlflow/users/permissions/grant", **grant) == 403
        asked.answer(USER, "3.0/mlflow/users/permissions/grant", **grant)
    assert changes() == [200, 200, 200]
    assert asked.status(COLLEAGUE, "2.0/mlflow/runs/delete", run_id=run) == 403
