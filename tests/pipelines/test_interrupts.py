"""Work in a thread of its own: its result, its error, and Ctrl-C while it goes on."""

import signal
import subprocess
import sys
import threading

import pytest

from pipelines.interrupts import interruptible

BUSY = """
import signal, sys, threading
from pipelines.interrupts import interruptible
def work():
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as Ray Train does in the main thread
    except ValueError:
        print("busy", flush=True)
    threading.Event().wait()
try:
    interruptible(work)
except KeyboardInterrupt:
    sys.exit(77)
"""


def test_results_and_errors_come_back() -> None:
    assert interruptible(lambda: threading.current_thread() is not threading.main_thread())
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0)


def test_in_another_thread_the_work_is_done_at_once() -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(interruptible(threading.current_thread) is thread))
    thread.start()
    thread.join(30)
    assert found == [True]


def test_ctrl_c_is_ours_while_the_work_goes_on() -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "busy\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 77
