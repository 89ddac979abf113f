"""Settings come from the environment; a wrong one is named with its variable."""

import socket
from pathlib import Path

import pytest

from infra.local.settings import ROOT, Ports, settings_from_environment
from pipelines.cluster import free_port
from vlm3.errors import ConfigError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VLM3_STACK", "VLM3_STACK_CPUS"):
        monkeypatch.delenv(name, raising=False)


def test_the_folder_is_in_the_repository_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert settings_from_environment().folder == ROOT / "stack"
    monkeypatch.setenv("VLM3_STACK", str(tmp_path))
    assert settings_from_environment().folder == tmp_path


def test_ports_of_the_environment_replace_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLM3_STACK_PORT_MLFLOW", "5001")
    assert settings_from_environment().ports == Ports(mlflow=5001)


def test_no_port_is_one_that_ray_gives_to_its_workers() -> None:
    assert all(port < 10000 for _, port in Ports())


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("VLM3_STACK_PORT_MLFLOW", "10500", "mlflow: Ray's workers use 10002 to 19999: .*found 10500"),
        ("VLM3_STACK_PORT_MLFLOW", "80", "mlflow: .*1024.*found 80"),
        ("VLM3_STACK_PORT_MLFLOW", "five", "VLM3_STACK_PORT_MLFLOW: expected a whole number above 0, found 'five'"),
        ("VLM3_STACK_PORT_MFLOW", "5001", "did you mean 'mlflow'"),
        ("VLM3_STACK_CPUS", "0", "VLM3_STACK_CPUS: expected a whole number above 0, found '0'"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=message):
        settings_from_environment()


def test_a_port_in_use_is_named_with_the_variable_that_changes_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = Ports(**free_ports() | {"s3": port})
        with pytest.raises(ConfigError, match=rf"port {port} of 127.0.0.1, for s3: .*VLM3_STACK_PORT_S3=NUMBER"):
            ports.check_free()
    ports.check_free()


def test_a_port_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"port 9010 is that of s3 and prometheus: .*VLM3_STACK_PORT_PROMETHEUS"):
        Ports(**free_ports() | {"s3": 9010, "prometheus": 9010}).check_free()


def free_ports() -> dict[str, int]:
    return {name: free_port() for name in Ports.model_fields}
