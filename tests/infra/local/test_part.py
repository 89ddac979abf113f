"""What parts need of the machine."""

from pathlib import Path

import pytest

from infra.local.part import account_of, find_command, http_status, inherited
from pipelines.cluster import free_port
from vlm3.errors import ConfigError


def test_a_missing_command_is_named_with_what_brings_it() -> None:
    with pytest.raises(ConfigError, match="no command prometheuss: apt-get install prometheus"):
        find_command("prometheuss", "apt-get install prometheus")
    assert Path(find_command("sh", "apt-get install dash")).is_file()


def test_nobody_answers_on_a_free_port() -> None:
    assert http_status(f"http://127.0.0.1:{free_port()}/") is None


def test_settings_for_other_servers_are_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://elsewhere")
    monkeypatch.setenv("KEPT", "yes")
    assert "MLFLOW_TRACKING_URI" not in inherited("MLFLOW_", "AWS_")
    assert inherited("MLFLOW_")["KEPT"] == "yes"


def test_another_account_brings_none_of_our_groups() -> None:
    assert account_of(None) == {}
    account = account_of("nobody")
    assert account["user"] == "nobody" and account["extra_groups"] == []
