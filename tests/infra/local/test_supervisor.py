"""Parts start in order and end together, whatever ends first."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from infra.local.supervisor import PartError, started, watch
from tests.infra.local.tiny_parts import alive, part, server


def listening(pid: int) -> bool:
    return any(entry.status == psutil.CONN_LISTEN for entry in psutil.Process(pid).net_connections("tcp"))


def children() -> set[int]:
    """Processes of this one; other tests of it may have left some."""
    return {process.pid for process in psutil.Process().children()}


def test_a_part_starts_when_the_one_before_is_healthy(tmp_path: Path) -> None:
    first = server("first", tmp_path)
    # It ends at once, unless the first one answers.
    asks = f"import urllib.request as r, time; r.urlopen('http://127.0.0.1:{first.address}'); time.sleep(60)"
    second = part("second", tmp_path, (sys.executable, "-c", asks))
    said: list[str] = []
    with started([first, second], said.append) as running:
        assert listening(running[0].process.pid)
    assert [line.split(" after")[0] for line in said] == [
        "first: starting",
        "first: healthy",
        "second: starting",
        "second: healthy",
    ]
    assert [one.process.returncode for one in running] == [-signal.SIGTERM] * 2


def test_all_end_when_one_is_killed(tmp_path: Path) -> None:
    with (
        pytest.raises(PartError, match="second was ended by SIGKILL"),
        started([server("first", tmp_path), server("second", tmp_path)], print) as running,
    ):
        running[1].process.kill()
        watch(running)
    assert all(one.process.poll() is not None for one in running)


def test_a_part_that_ends_at_its_start_is_named_with_its_last_words(tmp_path: Path) -> None:
    before = children()
    failing = part("broken", tmp_path, ("sh", "-c", "echo no such setting; exit 3"), healthy=lambda: False)
    words = r"broken ended with code 3; log: .*broken; its last lines: no such setting"
    with pytest.raises(PartError, match=words), started([server("first", tmp_path), failing], print):
        pytest.fail("it is not healthy")
    assert children() == before


def test_a_part_that_does_not_answer_in_time_ends_all(tmp_path: Path) -> None:
    before = children()
    silent = part("silent", tmp_path, ("sleep", "60"), healthy=lambda: False, deadline_s=0.5)
    words = r"silent is not healthy after 0.5 s"
    with pytest.raises(PartError, match=words), started([server("first", tmp_path), silent], print):
        pytest.fail("it is not healthy")
    assert children() == before


def test_a_part_is_not_taken_for_the_server_that_answers_in_its_place(tmp_path: Path) -> None:
    with started([server("there", tmp_path)], print) as running:
        second = server("late", tmp_path, int(running[0].part.address))
        with pytest.raises(PartError, match="late ended with code 1"), started([second], print) as late:
            watch(late)


def test_a_part_that_ignores_its_signal_is_killed_with_its_children(tmp_path: Path) -> None:
    deaf = "trap '' TERM; sleep 61 & sleep 62 & wait"
    stubborn = part("stubborn", tmp_path, ("sh", "-c", deaf), grace_s=0.3)
    with started([stubborn], print) as running:
        time.sleep(0.3)
        family = psutil.Process(running[0].process.pid).children(recursive=True)
        assert len(family) == 2
    assert running[0].process.returncode == -signal.SIGKILL
    assert alive(family) == []


def test_a_part_runs_with_its_own_environment_and_folder(tmp_path: Path) -> None:
    shows = part("shows", tmp_path, ("sh", "-c", "env; pwd; exec sleep 60"), environment={"ONLY": "this"})
    with started([shows], print):
        deadline = time.monotonic() + 10
        while str(tmp_path) not in shows.log.read_text().splitlines():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    lines = shows.log.read_text().splitlines()
    # A shell sets PWD and the like itself.
    assert "ONLY=this" in lines and not any(line.startswith(("PATH=", "HOME=")) for line in lines)


def test_the_environment_is_not_shown(tmp_path: Path) -> None:
    hidden = part("hidden", tmp_path, ("true",), environment={"PASSWORD": "s3cret"})
    assert "s3cret" not in repr(hidden)


def test_a_command_that_cannot_be_run_leaves_nothing(tmp_path: Path) -> None:
    before = children()
    absent = part("absent", tmp_path, (str(tmp_path / "absent"),))
    with pytest.raises(FileNotFoundError), started([server("first", tmp_path), absent], print):
        pytest.fail("it cannot run")
    assert children() == before


def test_ctrl_c_during_a_start_ends_what_has_started(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path; from tests.infra.local.tiny_parts import *; from infra.local.supervisor import *;"
        f"folder = Path({str(tmp_path)!r}); first = server('first', folder);"
        "second = part('second', folder, ('sleep', '60'), healthy=lambda: False);"
        "\nwith started([first, second], lambda line: print(line, flush=True)): pass"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    while "second: starting" not in process.stdout.readline():
        pass
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    process.send_signal(signal.SIGINT)
    assert process.wait(20) != 0
    assert alive(family) == []
