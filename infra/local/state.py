"""What is known of a stack outside of its processes: whether it runs, as which process, with which ports."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from infra.local.settings import Ports
from vlm3.config import StrictModel
from vlm3.errors import ConfigError

LOCK = "lock"
STATE = "state.json"
POLL_S = 0.1
ASKED_S = 1.0
"""Whoever asks whether a stack runs holds its lock for a moment: so long is tried."""


class State(StrictModel):
    """Written at the start of a stack."""

    keeper: int
    """Id of the process that all others come from."""
    ports: Ports
    cpus: int
    ray_folder: str
    healthy: bool
    """Whether all parts have been healthy."""

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        new = folder / f"{STATE}.new"
        new.write_text(self.model_dump_json(), encoding="utf-8")
        new.rename(folder / STATE)

    @classmethod
    def read(cls, folder: Path) -> "State | None":
        """That of the last start, None before the first one."""
        try:
            return cls.model_validate_json((folder / STATE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    @staticmethod
    def forget(folder: Path) -> None:
        """Remove it."""
        (folder / STATE).unlink(missing_ok=True)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the lock of a stack. Processes that are forked meanwhile hold it too, until the last of them ends.

    Raises:
        ConfigError: the stack runs, or is ending.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + ASKED_S
    with (folder / LOCK).open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ConfigError(
                        f"the stack in {folder} runs already: make stack-status shows it, make stack-down ends it"
                    ) from None
                time.sleep(POLL_S)
        yield


def runs(folder: Path) -> bool:
    """Whether any process of a stack's own family is there, also one that is ending."""
    try:
        with (folder / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


def running_state(folder: Path) -> State | None:
    """The state of a stack that runs, None when none does."""
    return State.read(folder) if runs(folder) else None


def ended(folder: Path, patience_s: float) -> bool:
    """Wait until nothing of a stack runs; False when something does after `patience_s`."""
    deadline = time.monotonic() + patience_s
    while runs(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def signal_keeper(folder: Path, state: State, number: int) -> None:
    """Send a signal to the keeper of a stack that runs.

    A keeper that was killed has told the others to end, and its number may be that of another process by now: only a
    process that holds the lock gets the signal.

    Raises:
        ConfigError: another user has started the stack.
    """
    lock = (folder / LOCK).resolve()
    try:
        keeper = psutil.Process(state.keeper)
        if str(lock) in {file.path for file in keeper.open_files()}:
            keeper.send_signal(number)
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied:
        if lock.stat().st_uid != os.geteuid():
            raise ConfigError(
                f"the stack in {folder} is that of user number {lock.stat().st_uid}: end it as that user"
            ) from None
