"""How a job ends: done, refused in one line, interrupted with a hint on how to continue, or with a bug's traceback."""

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
"""Exit codes for an error that the user can correct, a bug, Ctrl-C and SIGTERM."""

COMMAND = "vlm3"
"""The command of an installed package; `vlm3 train` is `python jobs/train.py`."""
LINE_CHARACTERS = 300
"""Maximum length of a bug's message in the last line; the traceback above has all of it."""


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM, which a supervisor sends: the job ends as on Ctrl-C, but with another exit code."""


def run_job(main: Callable[[], None]) -> None:
    """Run a job's `main`, then end the process with a message and an exit code for its user or supervisor.

    A UserError becomes one line on stderr and exit code 2. Ctrl-C ends with 130 and SIGTERM with 143, never with 0, so
    that a supervisor sees that the job has not finished. Any other exception prints its traceback and one line that
    says where the log is, and ends with 1. With VLM3_DEBUG=1 a UserError is treated in this way too.
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
        # A second Ctrl-C while Ray shuts down would leave its processes running.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        terminal.finish()
        terminal.say("interrupted" + (f"; {stop}" if stop.args else ""))
        _end(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the end of the job
        _fail(error)


@contextlib.contextmanager
def going_on(hint: Callable[[], str | None]) -> Iterator[None]:
    """If the user interrupts this block, add a hint on how to continue; `hint` returns None if there is no way to."""
    try:
        yield
    except KeyboardInterrupt as stop:
        said = hint()
        stop.args = () if said is None else (said,)
        raise


def resume_command(name: str, flag: str = "--resume") -> str:
    """The command line of this process, with `--resume NAME` (or another flag) in place of those that name the run."""
    program, *given = sys.argv
    started = program.split() if _is_installed_command(program) else ["python", program]
    kept = [
        word
        for word, before in zip(given, [program, *given], strict=False)
        if word not in ("--name", "--resume", "--continue")
        and not word.startswith(("--name=", "--resume="))
        and before not in ("--name", "--resume")
    ]
    return shlex.join([*started, *kept, flag, name])


def start_of(job: str) -> str:
    """How the user of this process starts another job: `python jobs/train.py`, or `vlm3 train`."""
    return f"{COMMAND} {job}" if _is_installed_command(sys.argv[0]) else f"python jobs/{job}.py"


def _is_installed_command(program: str) -> bool:
    return program.startswith(f"{COMMAND} ")


def _fail(error: BaseException) -> NoReturn:
    terminal.finish()
    terminal.say("".join(traceback.format_exception(error)).rstrip())
    text = " ".join(str(error).split())
    short = text if len(text) <= LINE_CHARACTERS else f"{text[:LINE_CHARACTERS]}…"
    terminal.say(f"error: {type(error).__name__}: {short}{terminal.where_the_log_is()}")
    _end(FAILED)


def _end(code: int) -> NoReturn:
    """End the process as `sys.exit` does, but without tearing down the interpreter.

    The registered exit functions are called, such as the one that stops a private Ray. Python would then also
    garbage-collect everything that torch and other libraries have loaded: 10 s of waiting without any use.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # the reader has gone
            stream.flush()
    os._exit(code)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
