"""A process that leaves nothing behind: whatever starts below it ends with it, however it dies."""

import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def keep(main: Callable[[], None], grace_s: float = 5.0) -> int:
    """Run `main` in a child, end all processes that it leaves behind, and return its exit code.

    On Linux orphans of this process's family become its own children, so that none escapes. SIGTERM and SIGINT are
    passed on to the child. When this process is killed, its child gets SIGTERM. Call it in a process without threads.

    Args:
        main: what the child does.
        grace_s: seconds between SIGTERM and SIGKILL for what it leaves behind.

    Returns:
        The child's exit code; 128 and the signal's number, when a signal ended it.
    """
    _control(_PR_SET_CHILD_SUBREAPER, 1)
    keeper = os.getpid()
    child = os.fork()
    if child == 0:
        _child(main, keeper)

    def pass_on(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    ended = 0
    # Orphans that end become zombies here: all are waited for.
    while ended != child:
        ended, status = os.wait()
    _end_all(grace_s)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _child(main: Callable[[], None], keeper: int) -> None:
    code = 1
    try:
        # Ctrl-C in a terminal is for the keeper, which passes it on: the child would get it twice.
        os.setpgid(0, 0)
        _control(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == keeper:
            main()
            code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except Exception:  # noqa: BLE001 - the end of this process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end_all(grace_s: float) -> None:
    family = psutil.Process().children(recursive=True)
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    deadline = time.monotonic() + grace_s
    while family := psutil.Process().children(recursive=True):
        if time.monotonic() > deadline:
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        _reap()
        time.sleep(0.05)


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _control(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
