"""Parts that are tiny real processes: a web server, or a sleeper."""

import os
import sys
from pathlib import Path

import psutil

from infra.local.part import HOST, Part, http_status
from pipelines.cluster import free_port


def server(name: str, folder: Path, port: int | None = None) -> Part:
    """A web server of Python's library."""
    port = port or free_port()
    command = (sys.executable, "-m", "http.server", str(port), "--bind", HOST, "--directory", str(folder))
    return part(name, folder, command, healthy=lambda: http_status(f"http://{HOST}:{port}/") == 200, address=str(port))


def part(name: str, folder: Path, command: tuple[str, ...], **changed: object) -> Part:
    values = {"healthy": lambda: True, "address": "nowhere", "environment": dict(os.environ), "folder": folder}
    return Part(name=name, command=command, log=folder / "log" / name, **(values | changed))  # type: ignore[arg-type]


def alive(family: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended; one that waits to be reaped has."""
    return [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
