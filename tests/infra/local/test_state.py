"""Whether a stack runs is known by a lock that its processes hold, not by a number that another process may have."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.settings import Ports
from infra.local.state import State, ended, only_one, running_state, runs, signal_keeper
from vlm3.errors import ConfigError

STATE = State(keeper=os.getpid(), ports=Ports(mlflow=5001), cpus=4, ray_folder="/tmp/x", healthy=False)


def test_the_state_is_read_as_written(tmp_path: Path) -> None:
    assert State.read(tmp_path) is None
    STATE.write(tmp_path)
    assert State.read(tmp_path) == STATE
    State.forget(tmp_path)
    assert State.read(tmp_path) is None


def test_a_second_one_is_refused(tmp_path: Path) -> None:
    with only_one(tmp_path):
        assert runs(tmp_path)
        with pytest.raises(ConfigError, match="runs already: make stack-status shows it"), only_one(tmp_path):
            pytest.fail("two of them")
    assert not runs(tmp_path)


def test_a_state_without_processes_is_not_a_stack_that_runs(tmp_path: Path) -> None:
    assert not runs(tmp_path)
    STATE.write(tmp_path)
    with only_one(tmp_path):
        assert running_state(tmp_path) == STATE
    assert running_state(tmp_path) is None


def test_the_lock_is_held_until_the_last_process_ends(tmp_path: Path) -> None:
    # The first process ends at once, and leaves a forked one.
    script = (
        "import os, sys, time; from pathlib import Path; from infra.local.state import only_one\n"
        "with only_one(Path(sys.argv[1])):\n    if os.fork() == 0: time.sleep(1.5)\n    os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    assert runs(tmp_path)
    assert not ended(tmp_path, 0.1)
    assert ended(tmp_path, 20)


def test_a_process_that_got_the_number_of_a_killed_keeper_hears_nothing(tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "60"])
    with only_one(tmp_path):
        signal_keeper(tmp_path, STATE.model_copy(update={"keeper": other.pid}), signal.SIGKILL)
    other.terminate()
    assert other.wait() == -signal.SIGTERM
    with only_one(tmp_path):
        signal_keeper(tmp_path, STATE.model_copy(update={"keeper": other.pid}), signal.SIGKILL)  # nobody has it now


def test_the_keeper_is_told_to_end(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from infra.local.state import only_one\n"
        "with only_one(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    # Also when the folder is named by a link.
    (tmp_path / "link").symlink_to(tmp_path)
    keeper = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "link")], stdout=subprocess.PIPE)
    with keeper:
        assert keeper.stdout is not None and keeper.stdout.readline() == b"held\n"
        signal_keeper(tmp_path / "link", STATE.model_copy(update={"keeper": keeper.pid}), signal.SIGTERM)
        assert keeper.wait(20) == -signal.SIGTERM
