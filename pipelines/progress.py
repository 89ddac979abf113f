"""Progress bars of work that happens in other processes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from vlm3.train.progress import read_progress

POLL_S = 0.5


@contextmanager
def progress_bar(run_dir: Path, total_steps: int) -> Iterator[None]:
    """Show the run's progress file as a bar on a terminal, as a line per tenth elsewhere (job logs)."""
    console = Console(stderr=True)
    stop = threading.Event()
    show = _bar if console.is_terminal else _lines
    thread = threading.Thread(target=show, args=(console, run_dir, total_steps, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@dataclass(slots=True)
class Counting:
    """A bar that its owner moves; elsewhere than on a terminal a line per tenth."""

    what: str
    total: int
    done: int = 0
    _bar: Progress | None = field(init=False, default=None)
    _console: Console = field(init=False, default_factory=lambda: Console(stderr=True))
    _next: int = field(init=False, default=0)

    def __enter__(self) -> Self:
        """Show it."""
        if self._console.is_terminal:
            columns = (
                TextColumn(self.what),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=self._console)
            self._bar.add_task(self.what, total=self.total, completed=self.done)
            self._bar.start()
        return self

    def add(self, count: int) -> None:
        """So many more are done."""
        self.done += count
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self.done)
        elif self.done >= self._next:
            self._console.print(f"{self.what} {self.done}/{self.total}", highlight=False)
            self._next = self.done + max(1, self.total // 10)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave it as it stands."""
        if self._bar is not None:
            self._bar.stop()


def _bar(console: Console, run_dir: Path, total_steps: int, stop: threading.Event) -> None:
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("training", total=total_steps, figures="starting workers")
        while True:
            finished = stop.wait(POLL_S)
            now = read_progress(run_dir)
            if now is not None:
                rates = f"{now.samples_per_s:.0f} samples/s  waiting for data {now.data_wait_share:.0%}"
                figures = f"loss {now.loss:.3f}  {rates}"
                bar.update(task, completed=now.step, figures=figures)
            if finished:
                return


def _lines(console: Console, run_dir: Path, total_steps: int, stop: threading.Event) -> None:
    next_step = 0
    while True:
        finished = stop.wait(POLL_S)
        now = read_progress(run_dir)
        if now is not None and (now.step >= next_step or finished):
            console.print(
                f"step {now.step}/{total_steps}  loss {now.loss:.3f}  {now.samples_per_s:.0f} samples/s",
                highlight=False,
            )
            next_step = now.step + max(1, total_steps // 10)
        if finished:
            return
