"""Settings of the stack: its folder, its ports and the number of CPUs of its Ray head, all from the environment."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from vlm3.config import StrictModel
from vlm3.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
"""The repository: jobs that are submitted run here."""
FOLDER = "VLM3_STACK"
CPUS = "VLM3_STACK_CPUS"
PORT = "VLM3_STACK_PORT_"
"""Beginning of the variables that choose a port, such as VLM3_STACK_PORT_MLFLOW."""
RAY_WORKERS = range(10002, 20000)
"""Ports that Ray gives to its workers."""
MIN_CPUS = 4


def _not_of_ray(port: int) -> int:
    if port in RAY_WORKERS:
        raise ValueError(f"Ray's workers use {RAY_WORKERS.start} to {RAY_WORKERS.stop - 1}: expected another port")
    return port


Port = Annotated[int, Field(ge=1024, le=65535), AfterValidator(_not_of_ray)]


class Ports(StrictModel):
    """Ports on 127.0.0.1. Those without a name of their own here are Ray's workers' and short-lived ones."""

    postgres: Port = 5442
    s3: Port = 9010
    mlflow: Port = 5000
    ray: Port = 6380
    """Where nodes and drivers join the cluster."""
    ray_client: Port = 8264
    ray_dashboard: Port = 8265
    """Where jobs are submitted."""
    ray_agent: Port = 8266
    ray_autoscaler_metrics: Port = 8267
    ray_dashboard_metrics: Port = 8268
    prometheus: Port = 9090

    def check_free(self) -> None:
        """Raise ConfigError when something listens on one of the ports, or two of them are the same."""
        numbers: dict[int, str] = {}
        for name, port in self:
            if port in numbers:
                raise ConfigError(f"port {port} is that of {numbers[port]} and {name}: {_how_to_change(name)}")
            numbers[port] = name
            with socket.socket() as probe:
                # As servers do: connections that ended a moment ago do not keep a port.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    raise ConfigError(
                        f"port {port} of 127.0.0.1, for {name}: {error.strerror}; end what listens there, or"
                        f" {_how_to_change(name)}"
                    ) from None


@dataclass(frozen=True)
class Settings:
    """One stack: everything that it keeps is in `folder`."""

    folder: Path
    ports: Ports
    cpus: int
    """Logical CPUs of the Ray head: they bound how many processes it places, not how much each computes."""

    @property
    def logs(self) -> Path:
        """One log file a part, of the last start."""
        return self.folder / "log"


def settings_from_environment() -> Settings:
    """The stack that the environment names; the folder need not exist.

    Raises:
        ConfigError: a port or the number of CPUs is wrong, or a variable names no port.
    """
    given = {name.removeprefix(PORT).lower(): os.environ[name] for name in os.environ if name.startswith(PORT)}
    ports = Ports.parse(
        {name: _number(PORT + name.upper(), text) for name, text in given.items()}, f"environment variables {PORT}…"
    )
    cpus = _number(CPUS, os.environ[CPUS]) if os.environ.get(CPUS) else max(MIN_CPUS, os.cpu_count() or 1)
    folder = Path(os.environ.get(FOLDER) or ROOT / "stack").absolute()
    return Settings(folder, ports, cpus)


def _number(variable: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"environment variable {variable}: expected a whole number above 0, found {text!r}")
    return int(text)


def _how_to_change(name: str) -> str:
    return f"choose another with {PORT}{name.upper()}=NUMBER"
