"""A run's name is held by one driver at a time, and let go however that one ends."""

import errno
import fcntl
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.runs import only_driver
from vlm3.errors import ConfigError

HOLD = """
import sys, time
from pathlib import Path
from pipelines.runs import only_driver
with only_driver(Path(sys.argv[1]), "train", "mine"):
    print("held", flush=True)
    time.sleep(60)
"""
ROOT = Path(__file__).resolve().parents[2]


def test_a_second_driver_is_refused_until_the_first_is_gone_even_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = ['platform', '.']\n{HOLD}", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None and first.stdout.readline().strip() == "held"
        with (
            pytest.raises(ConfigError, match=rf"'mine' is being driven by process {first.pid} on "),
            only_driver(tmp_path, "train", "mine"),
        ):
            pass
        with only_driver(tmp_path, "train", "other"), only_driver(tmp_path, "trial", "mine"):
            pass
        first.send_signal(signal.SIGKILL)
    with only_driver(tmp_path, "train", "mine"):
        pass


def test_the_name_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), only_driver(tmp_path, "train", "mine"):
        raise ZeroDivisionError
    with only_driver(tmp_path, "train", "mine"):
        pass


def test_a_file_system_without_locks_is_warned_of_and_does_not_stop_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def without_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without_locks)
    with only_driver(tmp_path, "train", "mine"):
        assert "No locks available" in caplog.text and "mine" in caplog.text
