"""What MLflow's users may do with what others have made, on a server with the settings of infra/."""

from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.infra.test_kuberay_mlflow import USER as ADMINISTRATOR
from tests.infra.test_kuberay_mlflow import server as server  # noqa: PLC0414 - a fixture of this module, too
from vlm3.tracking.config import TrackingConfig

pytestmark = [pytest.mark.long, pytest.mark.infra]  # a server that first makes its tables
User = tuple[str, str]
OWNER: User = ("owner", "owner-of-this-test")
COLLEAGUE: User = ("colleague", "colleague-of-this-test")
NAMES = TrackingConfig()


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
        asked.answer(ADMINISTRATOR, "2.0/mlflow/users/create", username=name, password=password)
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
        asked.answer(ADMINISTRATOR, "3.0/mlflow/users/permissions/grant", **grant)
    assert changes() == [200, 200, 200]
    assert asked.status(COLLEAGUE, "2.0/mlflow/runs/delete", run_id=run) == 403
