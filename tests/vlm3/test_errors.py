"""Errors of users: one line and exit code 2, in a process of their own."""

import os
import signal
import subprocess
import sys

import pytest

from vlm3.errors import CheckpointError, ConfigError, DataError, UserError, nearest

PREAMBLE = "from vlm3.errors import ConfigError, run_job\n"


def job(body: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != "VLM3_DEBUG"} | environment
    script = f"{PREAMBLE}def main():\n    {body}\nrun_job(main)\n"
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=env, timeout=60, check=False
    )


def test_an_error_of_the_user_is_one_line_and_exit_code_2() -> None:
    done = job("raise ConfigError('r.yaml: line one\\n  line two')")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "error: r.yaml: line one line two\n")


def test_a_bug_keeps_its_traceback() -> None:
    done = job("raise KeyError('bug')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "KeyError: 'bug'" in done.stderr


def test_debugging_shows_where_an_error_of_the_user_was_raised() -> None:
    done = job("raise ConfigError('wrong')", VLM3_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_success_is_silent() -> None:
    done = job("print('done')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_an_interrupt_ends_with_130() -> None:
    script = f"import time\n{PREAMBLE}def main():\n    print('ready', flush=True)\n    time.sleep(60)\nrun_job(main)\n"
    with subprocess.Popen([sys.executable, "-c", script], stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (130, "interrupted\n")


@pytest.mark.parametrize("kind", [ConfigError, DataError, CheckpointError])
def test_every_kind_is_an_error_of_the_user(kind: type[Exception]) -> None:
    assert issubclass(kind, UserError)


def test_an_unknown_name_gets_the_nearest_or_all_valid_ones() -> None:
    assert nearest("romos", ["street", "rooms"]) == "; did you mean 'rooms'?"
    assert nearest("xyz", ["street", "rooms"]) == "; valid: rooms, street"
    assert nearest("xyz", []) == ""
