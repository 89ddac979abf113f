"""The terminal of a job: it shows our own messages to the user; what libraries print goes to the job's log file.

Libraries write to file descriptors 1 and 2, from Python, from C++ and from the processes they start. `keep_log`
redirects both to the log file and keeps copies of the terminal's descriptors for us, so only we can write to it.
"""

import logging
import os
import re
import sys
import threading
from argparse import ArgumentParser
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from rich.console import Console

from vlm3.log import FORMATTER, LINE, configure, send_to

WARNINGS_A_MODULE = 3
"""Maximum number of different warnings shown per module; the log file has all of them."""
WIDTH = 200
"""Width in characters of an output that is not a terminal: enough not to cut lines or squeeze tables."""
POLL_S = 0.2
NUMBERS = re.compile(r"\d+")
FORWARDED = re.compile(rf"(?:\x1b\[[0-9;]*m)*\(.*?\bpid=\d+[^)]*\)(?:\x1b\[[0-9;]*m)* {LINE.pattern}")
"""Matches a line of our log that another process wrote and Ray forwarded."""
REPEATED = re.compile(r" ?(?:\x1b\[[0-9;]*m)*\[repeated \d+x across cluster\].*")


@dataclass(slots=True)
class _Terminal:
    """Where to print, and what was printed already."""

    out: Console
    """Console for results."""
    err: Console
    """Console for progress, warnings and errors."""
    verbose: bool = False
    log_file: Path | None = None
    log_told: bool = False
    """Whether a message to the user has named the log file."""
    said: set[str] = field(default_factory=set)
    warned: Counter[str] = field(default_factory=Counter)
    held_back: int = 0
    """Number of warnings that were not shown."""
    reader: "_LogReader | None" = None


def _console(descriptor: int | None, *, stderr: bool) -> Console:
    """A console on `descriptor`, or, if it is None, on the current sys.stdout or sys.stderr."""
    file = None if descriptor is None else os.fdopen(descriptor, "w", encoding="utf-8", errors="replace")
    console = Console(file=file, stderr=stderr, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH
    return console


_now = _Terminal(_console(None, stderr=False), _console(None, stderr=True))


def add_verbose(parser: ArgumentParser) -> None:
    """Add the `--verbose` flag, which every job that keeps a log has."""
    parser.add_argument("--verbose", action="store_true", help="show all that libraries print here, keep no log file")


def start(*, verbose: bool = False) -> None:
    """Show our own log on the terminal: each message once, few warnings per module. `verbose` shows every log line."""
    _now.verbose = verbose
    if verbose:
        configure()
    else:
        send_to(_OnTerminal())


def keep_log(folder: Path) -> None:
    """From now on, send all that libraries print to a new file in `folder`; does nothing with `verbose`."""
    if _now.verbose or _now.log_file is not None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    _now.log_file = folder / f"{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.log"
    sys.stdout.flush()
    sys.stderr.flush()
    # `os.dup` makes copies that are not inherited, so child processes cannot write to the terminal.
    _now.out, _now.err = _console(os.dup(1), stderr=False), _console(os.dup(2), stderr=True)
    log = os.open(_now.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr] # so that the log is complete after a crash
    _now.reader = _LogReader(_now.log_file)
    _now.reader.start()


def where_the_log_is() -> str:
    """End of a message that says where the log of libraries is; empty if no log is kept."""
    if _now.log_file is None:
        return ""
    _now.log_told = True
    return f"; what libraries print: {_now.log_file}"


def out() -> Console:
    """Console for results: tables, paths, what to do next."""
    return _now.out


def err() -> Console:
    """Console for progress, warnings and errors."""
    return _now.err


def verbose() -> bool:
    """Whether libraries print to the terminal too."""
    return _now.verbose


def say(text: str) -> None:
    """Print one message to the user on stderr."""
    _now.err.print(text, markup=False, soft_wrap=True)


def finish(*, forget_log: bool = False) -> None:
    """Show the last messages of other processes and the number of warnings that were not shown.

    Messages of other processes are not shown after it.

    Args:
        forget_log: remove the log file if no message has named it, or if the run's folder holds nothing else, so that
            a job that is refused at its start leaves nothing behind.
    """
    if _now.reader is not None:
        _now.reader.stop()
    if forget_log and _now.log_file is not None and (not _now.log_told or _only_a_log(_now.log_file)):
        _forget(_now.log_file)
    elif _now.held_back:
        say(f"{_now.held_back} more warnings of these kinds: {_now.log_file or 'set --verbose'}")
    _now.held_back = 0


class _OnTerminal(logging.Handler):
    """Shows this process's own log to the user and writes it to the log file."""

    def emit(self, record: logging.LogRecord) -> None:
        _tell(record.levelno, record.name, record.getMessage())
        if _now.log_file is not None:
            sys.stderr.write(f"{FORMATTER.format(record)}\n")


class _LogReader(threading.Thread):
    """Follows the log file for messages of our loggers in other processes, e.g. a warning about a bad sample."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="terminal", daemon=True)
        self._path = path
        self._stopped = threading.Event()

    def run(self) -> None:
        with self._path.open(encoding="utf-8", errors="replace") as log:
            rest = ""
            while True:
                # Waits before it reads, so that all that was written before the stop is read.
                last = self._stopped.wait(POLL_S)
                *lines, rest = (rest + log.read()).split("\n")
                for line in lines:
                    self._take(line)
                if last:
                    return

    def _take(self, line: str) -> None:
        found = FORWARDED.match(line)
        if found is not None:
            level = {"I": logging.INFO, "W": logging.WARNING}.get(found["level"], logging.ERROR)
            _tell(level, found["name"], REPEATED.sub("", found["text"]))

    def stop(self) -> None:
        self._stopped.set()
        self.join(timeout=5)


def _tell(level: int, name: str, text: str) -> None:
    if level < logging.WARNING:
        if text not in _now.said:
            _now.said.add(text)
            say(text)
        return
    line = NUMBERS.sub("#", f"{name}: {text}")
    if line in _now.said or _now.warned[name] == WARNINGS_A_MODULE:
        _now.held_back += 1
        return
    _now.said.add(line)
    _now.warned[name] += 1
    _now.err.print(f"warning: {text}", style="yellow", markup=False, soft_wrap=True)


def _only_a_log(path: Path) -> bool:
    """Whether the run's folder holds nothing but this log file."""
    return [*path.parent.parent.iterdir()] == [path.parent] and [*path.parent.iterdir()] == [path]


def _forget(path: Path) -> None:
    path.unlink()
    for folder in list(path.parents)[:3]:
        if any(folder.iterdir()):
            return
        folder.rmdir()
