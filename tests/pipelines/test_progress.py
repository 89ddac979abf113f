"""Progress as a terminal shows it, as one line that moves, and as a job's log has it, in a few plain lines."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.progress import Counting, figures, progress_bar
from vlm3.train.progress import Progress, forget_progress, read_progress, tell_activity

SCRIPT = """
import sys
from pipelines.progress import Counting
with Counting("training: step", 600) as counting:
    for step in range(0, 601, 10):
        counting.reach(step, "loss 5.522  1047 samples/s  waiting for data 100%")
"""
NOW = Progress(3, 6, 1.25, 47.4, 0.02)


def test_a_log_gets_a_few_plain_lines_and_the_last_one(capsys: pytest.CaptureFixture[str]) -> None:
    with Counting("rows", 100, lines=4) as counting:
        for _ in range(99):
            counting.add(1, "2 bad")
    said = capsys.readouterr().err
    assert said.splitlines() == [f"rows {n}/100  2 bad" for n in (1, 26, 51, 76, 99)]


def test_nothing_is_said_where_nothing_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    with Counting("rows", 3, done=3):
        pass
    assert capsys.readouterr().err == ""


def test_an_error_is_not_followed_by_a_line_of_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), Counting("rows", 100) as counting:
        counting.add(1)
        counting.add(1)
        _ = 1 // 0
    assert capsys.readouterr().err == "rows 1/100\n"


def test_a_terminal_of_100_columns_shows_one_line_with_all_that_matters(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    environment = os.environ | {"COLUMNS": "100", "TERM": "xterm"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, stdout=follower, stderr=follower, check=True)
    os.close(follower)
    shown = os.read(leader, 1 << 16).decode()
    os.close(leader)
    assert done.returncode == 0
    assert shown.count("\n") == 1, "the bar stays in its line"
    last = re.sub(r"\x1b\[[0-9;?]*\w", "", shown).rstrip().split("\r")[-1]
    assert len(last) <= 100 and "…" not in last
    for part in ("training: step", "600/600", "loss 5.522", "1047 samples/s", "waiting for data 100%", "left 0:00:"):
        assert part in last


def test_a_run_is_followed_by_its_progress_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(tmp_path, 6):
        NOW.write(tmp_path)
    assert capsys.readouterr().err == "training: step 3/6  loss 1.250  47 samples/s  waiting for data 2%\n"


def test_what_a_run_does_between_steps_stands_in_the_place_of_its_rates(tmp_path: Path) -> None:
    tell_activity(tmp_path, "evaluating")
    assert list(tmp_path.iterdir()) == [], "nothing is told before the first step"
    NOW.write(tmp_path)
    tell_activity(tmp_path, "evaluating")
    now = read_progress(tmp_path)
    assert now is not None and figures(now) == "loss 1.250  evaluating"


def test_a_run_that_goes_on_does_not_show_how_far_it_had_been(tmp_path: Path) -> None:
    forget_progress(tmp_path)
    NOW.write(tmp_path)
    forget_progress(tmp_path)
    assert read_progress(tmp_path) is None
