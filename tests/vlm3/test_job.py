"""How jobs end: one line and an exit code that a supervisor understands, each in a process of its own."""

import os
import signal
import subprocess
import sys

import pytest

from vlm3.job import resume_command, start_of

PREAMBLE = "from vlm3.errors import ConfigError\nfrom vlm3.job import going_on, run_job\n"
WAITING = """
import time
def main():
    with going_on(lambda: {hint}):
        print('ready', flush=True)
        # In short pieces: a signal just before a sleep begins is seen after it.
        for _ in range(600): time.sleep(0.1)
run_job(main)
"""


def job(body: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != "VLM3_DEBUG"} | environment
    script = f"{PREAMBLE}def main():\n    {body}\nrun_job(main)\n"
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=env, timeout=60, check=False
    )


def test_an_error_of_the_user_is_one_line_and_exit_code_2() -> None:
    done = job("raise ConfigError('r.yaml: line one\\n  line two')")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "error: r.yaml: line one line two\n")


def test_a_bug_keeps_its_traceback_and_ends_with_one_line() -> None:
    done = job("raise KeyError('bug')")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback") and "in main" in done.stderr
    assert done.stderr.splitlines()[-1] == "error: KeyError: 'bug'"


def test_debugging_shows_where_an_error_of_the_user_was_raised() -> None:
    done = job("raise ConfigError('wrong')", VLM3_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_success_is_silent() -> None:
    done = job("print('done')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "terminated"]
)
@pytest.mark.parametrize(
    ("hint", "said"), [("'go on so'", "interrupted; go on so\n"), ("None", "interrupted\n")], ids=["hint", "no hint"]
)
def test_an_interrupted_job_never_ends_with_0_and_says_how_to_go_on(
    number: int, code: int, hint: str, said: str
) -> None:
    script = PREAMBLE + WAITING.format(hint=hint)
    with subprocess.Popen([sys.executable, "-c", script], stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (code, said)


@pytest.mark.parametrize(
    "given",
    [
        "train.py a.yaml --set x=1",
        "train.py a.yaml --name r --set x=1",
        "train.py --resume=q a.yaml --set x=1",
        "train.py a.yaml --name r --continue --set x=1",
    ],
)
def test_the_command_that_goes_on_is_the_same_with_the_name_of_the_run(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", given.split())
    assert resume_command("run 1") == "python train.py a.yaml --set x=1 --resume 'run 1'"
    assert resume_command("e", flag="--name").endswith("--set x=1 --name e")


def test_the_installed_command_goes_on_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["vlm3 train", "four_tasks", "--name", "r"])
    assert resume_command("r") == "vlm3 train four_tasks --resume r"
    assert start_of("benchmark") == "vlm3 benchmark"
    monkeypatch.setattr(sys, "argv", ["jobs/train.py"])
    assert start_of("benchmark") == "python jobs/benchmark.py"
