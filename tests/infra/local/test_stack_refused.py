"""What a user gets to see when the stack cannot start or does not run: one line, and nothing is left."""

import socket
import subprocess
from pathlib import Path

import pytest

from infra.local import postgres
from infra.local.credentials import Credentials
from infra.local.settings import Ports, Settings
from tests.infra.local.stacks import Stack, a_stack
from vlm3.errors import ConfigError


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize("command", ["up", "run"])
def test_a_port_in_use_is_named_before_anything_starts(command: str) -> None:
    with a_stack() as stack, socket.create_server(("127.0.0.1", stack.ports.mlflow)):
        words = (f"port {stack.ports.mlflow} of 127.0.0.1, for mlflow", "VLM3_STACK_PORT_MLFLOW=NUMBER")
        refused(stack.does(command), *words)
        assert not (stack.folder / "postgres").exists() and not (stack.folder / "secrets").exists()


def test_a_stack_that_does_not_run() -> None:
    with a_stack() as stack:
        refused(stack.does("status"), f"no stack runs in {stack.folder}: start it with 'make stack'")
        refused(stack.does("backup", stack.folder / "backup"), "no stack runs")
        down = stack.does("down")
        assert down.returncode == 0 and "no stack runs" in down.stderr
        assert not stack.folder.exists()


def test_what_is_no_backup_is_not_restored(tmp_path: Path) -> None:
    with a_stack() as stack:
        refused(stack.does("restore", tmp_path), f"{tmp_path} is no backup of a stack: it has no mlflow.dump")
        assert not stack.folder.exists()


def test_a_missing_command_is_named_with_the_package_that_brings_it(tmp_path: Path) -> None:
    with a_stack() as stack:
        nowhere = Stack(stack.folder, stack.ports, stack.environment | {"PATH": str(tmp_path)})
        refused(nowhere.does("run"), "no command prometheus: apt-get install prometheus")


def test_a_folder_that_the_account_of_postgresql_cannot_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    settings = Settings(closed / "stack", Ports(), 4)
    credentials = Credentials.of(settings.folder)
    if postgres._account() is None:
        postgres.prepare(settings, credentials)  # whoever is not root enters his own folder
        return
    with pytest.raises(ConfigError, match=r"initdb failed: .*PostgreSQL runs as \w+ .*: set VLM3_STACK"):
        postgres.prepare(settings, credentials)
    assert not (settings.folder / "postgres").exists()
