"""Whatever dies, nothing that was started below a keeper outlives it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.infra.local.tiny_parts import alive

MAIN = """
import os, signal, subprocess, sys, time
from pathlib import Path
from infra.local.keeper import keep

def main():
    # A grandchild in a session of its own, whose parent ends at once: an orphan.
    subprocess.run(["sh", "-c", "setsid sleep 971 & setsid sh -c \\"trap '' TERM; sleep 972; sleep 972\\" &"])
    child = subprocess.Popen(["sleep", "973"])
    Path(sys.argv[1]).write_text(str(os.getpid()))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    time.sleep(60)

sys.exit(keep(main, grace_s=0.5))
"""


@contextmanager
def kept(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, list[psutil.Process]]]:
    """(keeper, process id of its child, all below the keeper)."""
    told = folder / "child"
    keeper = subprocess.Popen([sys.executable, "-c", MAIN, str(told)])
    family: list[psutil.Process] = []
    try:
        deadline = time.monotonic() + 20
        while len(family) < 5:
            assert keeper.poll() is None and time.monotonic() < deadline
            family = psutil.Process(keeper.pid).children(recursive=True)
            time.sleep(0.05)
        while not (told.exists() and told.read_text()):
            time.sleep(0.05)
        yield keeper, int(told.read_text()), family
    finally:
        for process in [*family, keeper]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        keeper.wait()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 7), (signal.SIGINT, 1)])
def test_a_signal_reaches_the_child_and_orphans_end_with_it(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with kept(tmp_path) as (keeper, _, family):
        keeper.send_signal(number)
        assert keeper.wait(20) == code
        assert alive(family) == []


def test_orphans_end_when_the_child_is_killed(tmp_path: Path) -> None:
    with kept(tmp_path) as (keeper, child, family):
        os.kill(child, signal.SIGKILL)
        assert keeper.wait(20) == 128 + signal.SIGKILL
        assert alive(family) == []


def test_the_child_is_told_when_the_keeper_is_killed(tmp_path: Path) -> None:
    with kept(tmp_path) as (keeper, child, family):
        (own,) = [process for process in family if process.pid == child]
        keeper.kill()
        keeper.wait()
        own.wait(20)


def test_the_end_of_the_child_is_that_of_the_keeper(tmp_path: Path) -> None:
    for body, code in [("return None", 0), ("raise SystemExit(5)", 5), ("1 / 0", 1), ("os._exit(9)", 9)]:
        script = f"import os, sys\nfrom infra.local.keeper import keep\ndef main():\n    {body}\nsys.exit(keep(main))"
        done = subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert ("ZeroDivisionError" in done.stderr) == (body == "1 / 0")
