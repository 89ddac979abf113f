"""Starts parts one after the other, each when the one before is healthy, and ends all of them when one ends."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Never

import psutil

from infra.local.part import Part, account_of
from vlm3.errors import UserError

POLL_S = 0.2
KILLED_S = 5.0
"""How long processes that were killed are waited for."""
ENDING = (signal.SIGTERM, signal.SIGINT)
TOLD_LINES = 5
"""Last lines of a log that an error shows."""


class PartError(UserError):
    """A part has ended, or did not become healthy in time."""


@dataclass(frozen=True)
class Running:
    """A part that was started."""

    part: Part
    process: subprocess.Popen[bytes]


@contextmanager
def started(parts: Sequence[Part], say: Callable[[str], None]) -> Iterator[list[Running]]:
    """Start parts, each when the one before is healthy; when the block ends, however it does, all of them end.

    Args:
        parts: started in this order, ended in the reverse one.
        say: gets one line when a part starts and when it is healthy.

    Raises:
        PartError: a part has ended, or was not healthy in time.
    """
    running: list[Running] = []
    try:
        for part in parts:
            say(f"{part.name}: starting")
            begun = time.monotonic()
            with _deferred():
                running.append(_start(part))
            _await_health(running)
            say(f"{part.name}: healthy after {time.monotonic() - begun:.1f} s at {part.address}")
        yield running
    finally:
        # Nothing may come between: what would stay running is known to nobody else.
        before = [(number, signal.signal(number, signal.SIG_IGN)) for number in ENDING]
        for one in reversed(running):
            _end(one)
        for number, handler in before:
            signal.signal(number, handler)


def watch(running: Sequence[Running]) -> Never:
    """Wait until a part ends.

    Raises:
        PartError: it has.
    """
    while True:
        check(running)
        time.sleep(POLL_S)


def _start(part: Part) -> Running:
    part.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with part.log.open("wb") as log:
        process = subprocess.Popen(
            part.command,
            cwd=part.folder,
            env=dict(part.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C in the terminal is for this process alone, which ends the parts in order.
            start_new_session=True,
            **account_of(part.user),
        )
    return Running(part, process)


@contextmanager
def _deferred() -> Iterator[None]:
    """Signals that come during the block are delivered after it: else a process that has started is known to nobody."""
    came: list[int] = []
    before = [(number, signal.signal(number, lambda number, frame: came.append(number))) for number in ENDING]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
        for late in came:
            os.kill(os.getpid(), late)


def _await_health(running: Sequence[Running]) -> None:
    part = running[-1].part
    deadline = time.monotonic() + part.deadline_s
    while not part.healthy():
        check(running)
        if time.monotonic() > deadline:
            raise PartError(f"{part.name} is not healthy after {part.deadline_s:g} s{_last_lines(part)}")
        time.sleep(POLL_S)
    # Another server may have answered in its place.
    check(running)


def check(running: Sequence[Running]) -> None:
    """Raise PartError when a part has ended."""
    for one in running:
        code = one.process.poll()
        if code is not None:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            raise PartError(f"{one.part.name} {how}{_last_lines(one.part)}")


def _end(one: Running) -> None:
    """End a part and the processes that it has started."""
    family: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(one.process.pid).children(recursive=True)
    deadline = time.monotonic() + one.part.grace_s
    # It leads a group of its own: its children hear the signal too.
    with suppress(ProcessLookupError):
        os.killpg(one.process.pid, one.part.stop)
    with suppress(subprocess.TimeoutExpired):
        one.process.wait(one.part.grace_s)
    _, left = psutil.wait_procs(family, timeout=max(0.0, deadline - time.monotonic()))
    one.process.kill()
    one.process.wait()
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=KILLED_S)


def _last_lines(part: Part) -> str:
    lines = [line.strip() for line in part.log.read_text(encoding="utf-8", errors="replace").splitlines()]
    last = " | ".join([line for line in lines if line][-TOLD_LINES:])
    return f"; log: {part.log}" + (f"; its last lines: {last}" if last else "")
