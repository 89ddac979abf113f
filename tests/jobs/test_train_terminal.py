"""Training in a terminal: one bar, Ctrl-C, and the line that goes on where it stopped."""

import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.job_runs import ROOT, RayVariables, job_environment
from tests.our_lines import foreign
from vlm3.config import dump_yaml
from vlm3.tracking.client import connect
from vlm3.train.checkpoint import read_state
from vlm3.train.resume import latest_checkpoint

STEPS, EVERY = 2000, 2
RECIPE = {
    "name": "small",
    "sources": {
        "rooms": {"weight": 1.0, "render": {"scenes": 12, "frames_per_scene": 4, "width_px": 64, "height_px": 48}}
    },
    "tasks": {
        "depth": {
            "focal_px": 40,
            "ask": {"points": 2, "reference_range": 100, "decimals": 1, "templates": "compact-1"},
        }
    },
    "model": {"id": "tiny"},
    "engine": {"zero_stage": 0, "micro_batch": 4},
    "train": {"steps": STEPS, "global_batch": 4, "cpus_per_worker": 0.5, "checkpoint_every_steps": EVERY},
    "evaluation": {"images": 1, "points": 1, "every_steps": STEPS},
}


def in_a_terminal(
    command: list[str], environment: dict[str, str], after_step: int, stop: Callable[[int], None]
) -> tuple[int, str]:
    """Run a command on a terminal of 100 columns and stop it, by its pid, after a step; exit code, all it showed."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=follower, stdout=follower, stderr=follower, start_new_session=True
    ) as process:
        os.close(follower)
        shown = b""
        pressed = False
        while True:
            try:
                got = os.read(leader, 1 << 16)
            except OSError:  # how Linux says that nobody holds the other end any more
                break
            if not got:
                break
            shown += got
            if not pressed and steps(shown.decode(errors="replace")) > after_step:
                pressed = True
                stop(process.pid)
        code = process.wait(60)
    os.close(leader)
    return code, shown.decode()


def ctrl_c(pid: int) -> None:
    """As a terminal sends it: to the job and what it started."""
    os.killpg(pid, signal.SIGINT)


def terminate(pid: int) -> None:
    """As a supervisor sends it: to the job alone."""
    os.kill(pid, signal.SIGTERM)


def steps(shown: str) -> int:
    """The last step that the bar showed."""
    return max((int(step) for step in re.findall(rf"(\d+)/{STEPS}", shown)), default=0)


def lines(shown: str) -> list[str]:
    """What stays to be read: control sequences gone, of a line that moved the last state."""
    plain = re.sub(r"\x1b\[[0-9;?]*\w", "", shown.replace("\r\n", "\n"))
    return [line.rstrip("\r").split("\r")[-1] for line in plain.rstrip("\n").split("\n")]


@pytest.mark.long
def test_ctrl_c_and_sigterm_end_a_training_with_a_line_that_goes_on(joined: RayVariables, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(dump_yaml(RECIPE))
    given = [str(tmp_path / "small.yaml"), "--runs", str(tmp_path), "--no-register"]
    environment = job_environment(joined, COLUMNS="100", TERM="xterm")
    command = [sys.executable, "jobs/train.py", *given, "--name", "stopped"]
    code, shown = in_a_terminal(command, environment, EVERY, ctrl_c)
    left = lines(shown)
    assert code == 130, left[-20:]
    assert left[-1] == f"interrupted; go on with: {shlex.join(['python', 'jobs/train.py', *given])} --resume stopped"
    bars = [line for line in left if line.startswith("training: step")]
    assert len(bars) == 1 and len(bars[0]) <= 100, "one bar, in its line"
    assert foreign("\n".join(line for line in left if line not in bars)) == []

    run_dir = tmp_path / "train" / "stopped"
    reached = read_state(latest_checkpoint(run_dir))
    assert 0 < reached.step < STEPS
    client = connect(f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("vlm3").experiment_id])
    assert run.info.status == "KILLED"

    again = shlex.split(left[-1].partition("go on with: ")[2])
    code, shown = in_a_terminal([sys.executable, *again[1:]], environment, steps(shown) + EVERY, terminate)
    assert lines(shown)[-1] == left[-1]
    assert code == 143 and read_state(latest_checkpoint(run_dir)).step >= reached.step
    assert f"at step {reached.step}, stream position {reached.ledger.watermark}" in shown
