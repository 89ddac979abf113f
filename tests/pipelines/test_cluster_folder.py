"""A private cluster's folder leaves room for the paths of Ray's sockets; its port stays free until Ray listens."""

import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.cluster import QUIET_PORTS, free_port, new_folder
from vlm3.errors import ConfigError

SESSION = f"session_2026-11-29_21-17-16_390746_{os.getpid()}"


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path; pytest's own are long."""
    with tempfile.TemporaryDirectory(prefix="v", dir="/tmp") as folder:
        yield Path(folder)


def temporary(monkeypatch: pytest.MonkeyPatch, **variables: Path) -> None:
    for name in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    for name, folder in variables.items():
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)


def longest_socket(folder: Path) -> int:
    names = ("plasma_store", "raylet", "dash_MetricsHead", "dash_ReportHead", "dash_StateHead")
    return max(len(os.fsencode(folder / SESSION / "sockets" / name)) for name in names)


@pytest.mark.parametrize("name", ["t", "slurm_jobdir/1355700/tmp.t0016", "ü" * 20])
def test_a_temporary_folder_that_is_too_long_gives_way_to_tmp(
    short: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    temporary(monkeypatch, TMPDIR=short / name)
    folder = new_folder()
    try:
        assert longest_socket(folder) <= 107
        assert folder.parent == (short / name if name == "t" else Path("/tmp"))
        assert name == "t" or not list((short / name).iterdir())
    finally:
        folder.rmdir()


def test_a_folder_that_was_asked_for_is_used_or_refused_and_never_too_long(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = []
    for length in range(1, 40):
        parent = short / ("x" * length)
        temporary(monkeypatch, RAY_TMPDIR=parent)
        try:
            folder = new_folder()
        except ConfigError as error:
            assert "too long for the paths of Ray's sockets; set RAY_TMPDIR to a short path such as /tmp" in str(error)
            assert not list(parent.iterdir())
            refused.append(length)
        else:
            assert folder.parent == parent and longest_socket(folder) <= 107
    assert refused and refused == list(range(refused[0], 40)), "from one length on"


def test_a_folder_that_is_not_there_is_one_line(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary(monkeypatch)
    monkeypatch.setenv("RAY_TMPDIR", str(short / "absent"))
    with pytest.raises(ConfigError, match="absent: Ray's folder cannot be made there"):
        new_folder()


def test_a_free_port_is_none_that_the_system_gives_to_connections() -> None:
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not given.exists():
        pytest.skip("the range of ports for connections is read from /proc, which only Linux has")
    lowest, highest = map(int, given.read_text().split())
    assert not set(range(lowest, highest + 1)) & set(QUIET_PORTS)
    assert {free_port() for _ in range(50)} <= set(QUIET_PORTS)


def test_processes_with_the_same_seed_get_different_ports() -> None:
    drawn = []
    for _ in range(2):
        random.seed(1)
        drawn.append([free_port() for _ in range(10)])
    assert drawn[0] != drawn[1]


def test_a_port_in_use_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as used:
        port = free_port()
        used.bind(("127.0.0.1", port))
        monkeypatch.setattr("pipelines.cluster.PORTS_TRIED", 1)
        monkeypatch.setattr("pipelines.cluster.QUIET_PORTS", range(port, port + 1))
        with pytest.raises(OSError, match=f"no free port on 127.0.0.1: .* {port}"):
            free_port()
