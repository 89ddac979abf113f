"""Progress of work that happens in other processes: one bar on a terminal, a few lines elsewhere (job logs)."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vlm3 import terminal
from vlm3.train.progress import TRAINING, read_progress
from vlm3.train.progress import Progress as RunProgress

POLL_S = 0.5
LINES = 10
BAR_WIDTH = 14
"""Characters; leaves room for the figures in a terminal of 100 columns."""


@dataclass(slots=True)
class Counting:
    """Progress of counted work: a bar on a terminal, lines elsewhere. Its owner reports what is done."""

    what: str
    total: int
    done: int = 0
    figures: str = ""
    """Text shown beside the numbers, for example how many rows were bad."""
    lines: int = LINES
    """How many lines to print over the whole work if there is no terminal."""
    _bar: Progress | None = field(init=False, default=None)
    _next: int = field(init=False, default=0)
    _told: int = field(init=False, default=-1)

    def __enter__(self) -> Self:
        """Show the bar."""
        self._told = self.done
        if terminal.err().is_terminal:
            # What libraries print meanwhile goes to the log; with --verbose it appears above the bar.
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(BAR_WIDTH),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TextColumn("left"),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=terminal.err(),
                redirect_stdout=terminal.verbose(),
                redirect_stderr=terminal.verbose(),
            )
            self._bar.add_task(self.what, total=self.total, completed=self.done, figures=self.figures)
            self._bar.start()
        return self

    def add(self, count: int, figures: str = "") -> None:
        """Count `count` more as done."""
        self.reach(self.done + count, figures)

    def reach(self, done: int, figures: str = "") -> None:
        """Set how many are done in all."""
        self.done, self.figures = done, figures
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, figures=figures)
        elif done >= self._next:
            self._tell()
            self._next = done + max(1, self.total // self.lines)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the bar as it stands."""
        if self._bar is not None:
            self._bar.stop()
        elif self._told != self.done and error is None:
            self._tell()

    def _tell(self) -> None:
        self._told = self.done
        terminal.say(f"{self.what} {self.done}/{self.total}" + (f"  {self.figures}" if self.figures else ""))


@contextmanager
def watching(what: str, total: int, look: Callable[[], tuple[int, str] | None], lines: int = LINES) -> Iterator[None]:
    """Show the progress of work that goes on elsewhere while the block runs.

    Args:
        what: name of the work and its unit, for example "training: step".
        total: how many units there are.
        look: returns how many are done and the figures to show; None while nothing is known.
        lines: how many lines to print over the whole work if there is no terminal.
    """
    stop = threading.Event()

    def follow() -> None:
        with Counting(what, total, figures="starting", lines=lines) as counting:
            while True:
                last = stop.wait(POLL_S)
                now = look()
                if now is not None:
                    counting.reach(*now)
                if last:
                    return

    thread = threading.Thread(target=follow, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def progress_bar(run_dir: Path, total_steps: int) -> Iterator[None]:
    """Show the run's progress file while the block runs."""

    def look() -> tuple[int, str] | None:
        now = read_progress(run_dir)
        return None if now is None else (now.step, figures(now))

    with watching("training: step", total_steps, look):
        yield


def figures(now: RunProgress) -> str:
    """The most important figures of a run, as short text."""
    if now.activity != TRAINING:
        return f"loss {now.loss:.3f}  {now.activity}"
    return f"loss {now.loss:.3f}  {now.samples_per_s:.0f} samples/s  waiting for data {now.data_wait_share:.0%}"
