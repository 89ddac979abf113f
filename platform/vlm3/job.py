"""How a job ends: done, refused in one line, interrupted with a word on how to go on, or with a bug's traceback."""

import atexit
import contextlib
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from vlm3 import terminal
from vlm3.errors import UserError

REFUSED, FAILED, INTERRUPTED, TERMINATED = 2, 1, 130, 143
"""Exit codes: the user can put it right; a bug; Ctrl-C; SIGTERM."""

LINE_CHARACTERS = 300
"""Of a bug's text in the last line; the whole stands above it."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a supervisor sends it: the job ends as on Ctrl-C, with another exit code."""


def run_job(main: Callable[[], None]) -> None:
    """Run a job's `main` and end the process as its user, or a supervisor, expects.

    A UserError becomes one line on stderr and exit code 2. Ctrl-C ends with 130, SIGTERM with 143: never with 0, so
    that whoever supervises sees that the job has not finished. Any other exception keeps its traceback, ends with one
    line that says where the log is, and exit code 1. Set VLM3_DEBUG=1 to see the traceback of a UserError as well.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        main()
        terminal.finish()
        _end(0)
    except UserError as error:
        if os.environ.get("VLM3_DEBUG"):
            _fail(error)
        terminal.finish(forget_log=True)
        terminal.say(f"error: {' '.join(str(error).split())}")
        _end(REFUSED)
    except KeyboardInterrupt as stop:
        # A second Ctrl-C while Ray ends would leave its processes behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        terminal.finish()
        terminal.say("interrupted" + (f"; {stop}" if stop.args else ""))
        _end(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the end of the job
        _fail(error)


@contextlib.contextmanager
def going_on(hint: Callable[[], str | None]) -> Iterator[None]:
    """Where the user interrupts this block, say how to go on (None: nothing to go on with)."""
    try:
        yield
    except KeyboardInterrupt as stop:
        said = hint()
        stop.args = () if said is None else (said,)
        raise


def resume_command(name: str, flag: str = "--resume") -> str:
    """The command line of this process with `--resume NAME`, or another flag, in place of `--name`."""
    given = sys.argv
    kept = [
        word
        for place, word in enumerate(given)
        if word not in ("--name", "--resume")
        and not word.startswith(("--name=", "--resume="))
        and (place == 0 or given[place - 1] not in ("--name", "--resume"))
    ]
    return shlex.join(["python", *kept, flag, name])


def _fail(error: BaseException) -> NoReturn:
    terminal.finish()
    terminal.say("".join(traceback.format_exception(error)).rstrip())
    text = " ".join(str(error).split())
    short = text if len(text) <= LINE_CHARACTERS else f"{text[:LINE_CHARACTERS]}…"
    terminal.say(f"error: {type(error).__name__}: {short}{terminal.where_the_log_is()}")
    _end(FAILED)


def _end(code: int) -> NoReturn:
    """End the process as `sys.exit` does, without taking the interpreter apart.

    What is registered for the exit is called, a private Ray's end among it. Python would then collect the garbage of
    all that torch and its like have loaded, which takes 10 s and has no effect but that the user waits.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # nobody reads any more
            stream.flush()
    os._exit(code)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
