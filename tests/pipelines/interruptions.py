"""The real training worker, interrupted right after an exact step: it dies there, or waits there to be killed.

As a script: `interruptions.py STEP MARKER JOB ARGUMENTS...` runs a job whose training waits after STEP; MARKER is
written there and then.
"""

import os
import runpy
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ray.train

import pipelines.train
import vlm3.train.worker
from vlm3.train.loop import LoopState, StepOutcome
from vlm3.train.worker_config import WorkerConfig

AfterStep = Callable[[int, int], None]
"""Called with rank and step, on every worker after each step and its checkpoint."""
Train = Callable[[dict[str, WorkerConfig]], None]


@dataclass(frozen=True)
class Last:
    """A callback of the training loop."""

    rank: int
    after: AfterStep

    def after_step(self, outcome: StepOutcome, state: LoopState) -> None:
        self.after(self.rank, outcome.step)


def interrupted(after: AfterStep) -> Train:
    """What Ray Train is to run instead of the worker: the worker, and `after` last among its callbacks."""

    def train(config: dict[str, WorkerConfig]) -> None:
        rank = ray.train.get_context().get_world_rank()
        run_steps = vlm3.train.worker.run_steps

        # In this worker's process only, which ends with the run.
        vlm3.train.worker.run_steps = lambda *given: run_steps(*given[:-1], [*given[-1], Last(rank, after)])
        vlm3.train.worker.train_worker(config)

    return train


def dying(victim: int, at_step: int, marker: Path) -> AfterStep:
    """Rank `victim` dies without warning after `at_step`, once: `marker` stays."""

    def after(rank: int, step: int) -> None:
        if (rank, step) == (victim, at_step) and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    return after


def waiting(at_step: int, marker: Path) -> AfterStep:
    """Every rank waits after `at_step` for whoever kills it."""

    def after(_rank: int, step: int) -> None:
        while step == at_step:
            marker.touch()
            time.sleep(0.1)

    return after


if __name__ == "__main__":
    _, at_step, marker, job, *arguments = sys.argv
    pipelines.train.work = interrupted(waiting(int(at_step), Path(marker)))
    sys.argv = [job, *arguments]
    runpy.run_path(job, run_name="__main__")
