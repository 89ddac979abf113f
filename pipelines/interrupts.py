"""Lets Ctrl-C reach our own code while Ray works."""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.2


def interruptible(work: Callable[[], T]) -> T:
    """Run `work`, in a thread of its own if this is the main thread, and return its result.

    Ray Train and Ray Tune take over SIGINT if they are started in the main thread; Ctrl-C then ends the process with
    exit code 0, or they go on for a while. In another thread they leave it alone: Ctrl-C raises KeyboardInterrupt here,
    callers release what they hold, and Ray's processes end with this one.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    thread = threading.Thread(target=run, name="ray work", daemon=True)
    thread.start()
    # A signal that comes just before a wait is not noticed until the wait ends, so each is short.
    while thread.is_alive():
        thread.join(POLL_S)
    if errors:
        raise errors[0]
    return results[0]
