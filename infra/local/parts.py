"""All parts of the stack, in the order in which they start, and what is prepared before."""

import shlex
from pathlib import Path

from infra.local import postgres, prometheus, ray_head, s3, tracking
from infra.local.credentials import FOLDER, Credentials, write_private
from infra.local.part import Part
from infra.local.settings import Settings

CLIENT = "client.env"
"""File with the variables of a client, for a shell."""


def all_parts(settings: Settings, credentials: Credentials, ray_folder: Path) -> list[Part]:
    """The parts.

    Raises:
        ConfigError: a command is not installed.
    """
    return [
        postgres.part(settings, credentials),
        s3.part(settings, credentials),
        tracking.part(settings, credentials),
        ray_head.part(settings, credentials, ray_folder),
        prometheus.part(settings),
    ]


def prepare(settings: Settings, credentials: Credentials, ray_folder: Path) -> None:
    """Make what the parts need, unless it is there, and the file for clients.

    Raises:
        ConfigError: the database cannot be made.
    """
    postgres.prepare(settings, credentials)
    s3.prepare(settings)
    tracking.prepare(settings)
    prometheus.prepare(settings, ray_folder)
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in client(settings, credentials).items()]
    write_private(client_file(settings), "".join(lines))


def client(settings: Settings, credentials: Credentials) -> dict[str, str]:
    """Variables for a shell from which jobs are started or submitted."""
    return (
        tracking.client(settings, credentials)
        | ray_head.token(settings)
        | ray_head.LOOPBACK_ONLY
        | {"RAY_API_SERVER_ADDRESS": ray_head.url(settings), "RAY_USAGE_STATS_ENABLED": "0"}
    )


def client_file(settings: Settings) -> Path:
    """Where those variables are."""
    return settings.folder / FOLDER / CLIENT
