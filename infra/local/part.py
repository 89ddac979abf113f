"""A part of the stack: a server with a health check."""

import os
import pwd
import shutil
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import TypedDict

from vlm3.errors import ConfigError

HOST = "127.0.0.1"
DIRECT = f"{HOST},localhost"
"""What is asked without a proxy."""
PATIENCE_S = 5.0
"""How long a health check waits for an answer."""
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Part:
    """How a part starts, how to see that it works, and how it ends."""

    name: str
    command: tuple[str, ...]
    """Holds no secret: everybody on the machine can read it."""
    environment: Mapping[str, str] = field(repr=False)
    """All of it: nothing else is inherited."""
    healthy: Callable[[], bool]
    """Whether it answers; also called by processes that have not started it."""
    address: str
    """URL or `host:port`, for people."""
    log: Path
    folder: Path
    """Working directory."""
    user: str | None = None
    """Whose process it is; None: that of whoever starts the stack."""
    stop: signal.Signals = signal.SIGTERM
    """Ends it in good order."""
    grace_s: float = 10.0
    """Seconds between `stop` and SIGKILL."""
    deadline_s: float = 60.0
    """Seconds until it must be healthy."""


def inherited(*without: str) -> dict[str, str]:
    """This process's environment but for the variables that begin so: what a user has set is for other servers.

    A proxy is not used for this machine.
    """
    kept = {name: value for name, value in os.environ.items() if not without or not name.startswith(without)}
    return kept | {"NO_PROXY": DIRECT, "no_proxy": DIRECT}


def http_status(url: str) -> int | None:
    """Status of a GET of an `http://` URL on this machine, None when nothing answers."""
    try:
        with _DIRECT.open(url, timeout=PATIENCE_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, HTTPException):
        return None


class Account(TypedDict, total=False):
    """Arguments of subprocess: another user, with no group but his own."""

    user: str
    group: int
    extra_groups: list[int]


def account_of(user: str | None) -> Account:
    """Arguments of subprocess for a process of `user`; none for one of the user who starts it."""
    return {} if user is None else {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def find_command(name: str, install: str) -> str:
    """Path of a command, beside this Python or on PATH.

    Raises:
        ConfigError: it is not installed; the message says `install`, the command that brings it.
    """
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        raise ConfigError(f"no command {name}: {install}")
    return found
