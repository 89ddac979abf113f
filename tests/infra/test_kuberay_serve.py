"""The endpoint of infra/kuberay, deployed from its text as the operator does it, on a Ray of this machine."""

import time
from pathlib import Path

import httpx2
import pytest
import yaml
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from pipelines.cluster import free_port
from tests.infra.kuberay_manifests import built

pytestmark = [pytest.mark.long, pytest.mark.infra]  # a Ray, and two replicas that load a model

HOST = "127.0.0.1"
READY_S = 120


def test_ray_serve_builds_the_application_from_the_text_of_the_manifest(ray_session: None, export_dir: Path) -> None:
    (service,) = built("overlays/serve")
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    (application,) = config["applications"]
    application["args"] |= {"model": str(export_dir), "runs_dir": str(export_dir.parent)}
    options = config["http_options"] | {"host": HOST, "port": free_port()}
    serve.start(proxy_location=config["proxy_location"], http_options=options)
    try:
        client = _get_global_client()
        client.deploy_apps(ServeDeploySchema.model_validate(config | {"http_options": options}), _blocking=True)
        (deployment,) = serve.status().applications[application["name"]].deployments.values()
        assert deployment.replica_states == {"RUNNING": application["args"]["replicas"]}
        assert _ready(f"http://{HOST}:{options['port']}/readyz") == {"name": "export", "version": "local"}
    finally:
        serve.shutdown()


def _ready(url: str) -> object:
    """The model that is served, once it is loaded."""
    deadline = time.monotonic() + READY_S
    while (response := httpx2.get(url, timeout=30, trust_env=False)).status_code != 200:
        assert time.monotonic() < deadline, response.text
        time.sleep(0.2)
    return response.json()["model"]
