"""jobs/reweigh.py against a keeper that reads on beside it: answers, refusals, and one clear line for each."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.job_runs import NO_RAY, refused, run_job
from vlm3.mixture.keeper import PlanKeeper, read_plan
from vlm3.mixture.plan import ComponentSize, MixturePlan
from vlm3.mixture.requests import REQUEST_FILE, submit_request
from vlm3.train.progress import write_summary

SIZES = (ComponentSize("rooms/depth", 50, 4, "aa"), ComponentSize("my.web/depth", 500, 8, "bb"))
STEPS, BATCH = 100_000, 16


def reweigh(runs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_job(NO_RAY, "reweigh", *arguments, "--runs", runs)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "train" / "big"


@pytest.fixture
def keeper(run_dir: Path) -> PlanKeeper:
    plan = MixturePlan.start(SIZES, [1, 1], 1, 64, max_epochs=[7000, None])
    return PlanKeeper(run_dir, plan, STEPS, BATCH)


@contextmanager
def reading(keeper: PlanKeeper) -> Iterator[None]:
    """A job that reads a range every few milliseconds."""
    stop = threading.Event()

    def read() -> None:
        while not stop.wait(0.01):
            keeper.issue(keeper.issued, keeper.issued + BATCH)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_the_position_of_the_new_weights_and_the_shares_are_printed(
    keeper: PlanKeeper, run_dir: Path, tmp_path: Path
) -> None:
    with reading(keeper):
        done = reweigh(tmp_path, "big", "--set", "my.web/depth=3")
    assert done.returncode == 0, done.stderr
    plan = read_plan(run_dir)
    assert plan is not None and plan.changes[-1].weights == (None, 3.0)
    position = plan.changes[-1].from_position
    text = " ".join(done.stdout.split())
    assert f"from position {position:,} on, in step {position // BATCH + 1:,}" in text
    assert "50.00%" in text and "75.00%" in text
    assert not (run_dir / REQUEST_FILE).exists()


def test_what_the_run_refuses_is_one_line(keeper: PlanKeeper, run_dir: Path, tmp_path: Path) -> None:
    with reading(keeper):
        done = reweigh(tmp_path, "big", "--set", "my.web/depth=0")
    refused(done, "run 'big' refused", "runs dry in step")
    assert read_plan(run_dir) == keeper.plan()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["big", "--set", "my.web/deph=3"], ("no component 'my.web/deph'", "did you mean 'my.web/depth'")),
        (["big", "--set", "rooms/depth=-1"], ("found -1",)),
        (["big", "--set", "rooms/depth"], ("expected source/task=weight",)),
        (["big", "--set", "rooms/depth=much"], ("expected source/task=weight",)),
        (["bigg", "--set", "rooms/depth=1"], ("no run 'bigg'", "did you mean 'big'")),
        (["big", "--set", "rooms/depth=1", "--timeout-s", "0.5"], ("no answer within 0.5 s", REQUEST_FILE)),
    ],
    ids=["component", "weight", "no value", "no number", "run", "no answer"],
)
def test_what_cannot_be_asked_is_refused_before_the_run_is_bothered(
    keeper: PlanKeeper, run_dir: Path, tmp_path: Path, arguments: list[str], words: tuple[str, ...]
) -> None:
    refused(reweigh(tmp_path, *arguments), *words)
    assert (run_dir / REQUEST_FILE).exists() == ("--timeout-s" in arguments)


def test_ended_unstarted_and_busy_runs_say_so(keeper: PlanKeeper, run_dir: Path, tmp_path: Path) -> None:
    submit_request(run_dir, {"rooms/depth": 1.0})
    refused(reweigh(tmp_path, "big", "--set", "rooms/depth=2"), "another request waits")
    write_summary(run_dir, {"loss_last": 1.0})
    refused(reweigh(tmp_path, "big", "--set", "rooms/depth=2"), "has ended")
    (tmp_path / "train" / "new").mkdir()
    refused(reweigh(tmp_path, "new", "--set", "rooms/depth=2"), "has not begun")
