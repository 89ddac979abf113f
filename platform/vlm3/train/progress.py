"""How far a run is, and its figures at the end, in two small files: the driver shows them, anyone may read them."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from vlm3.storage.atomic import replace_file

FILE_NAME = "progress.json"
SUMMARY_FILE = "summary.json"
TRAINING = "training"


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a run as of its last step."""

    step: int
    total_steps: int
    loss: float
    samples_per_s: float
    data_wait_share: float
    """Share of the step's time that the trainer waited for data."""
    activity: str = TRAINING
    """What the workers do at the moment."""

    def write(self, run_dir: Path) -> None:
        """Replace the run's progress file atomically."""
        # Every step, and read only while the run goes on: not worth flushing a disk for.
        replace_file(run_dir / FILE_NAME, json.dumps(asdict(self)).encode(), durable=False)


def read_progress(run_dir: Path) -> Progress | None:
    """The last written progress, None before the first step."""
    try:
        return Progress(**json.loads((run_dir / FILE_NAME).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def forget_progress(run_dir: Path) -> None:
    """Nothing is done yet: a run that goes on from its last checkpoint may have been further before."""
    (run_dir / FILE_NAME).unlink(missing_ok=True)


def tell_activity(run_dir: Path, activity: str) -> None:
    """Say what the run does between two steps: evaluating, saving. The next step says "training" again."""
    now = read_progress(run_dir)
    if now is not None:
        replace(now, activity=activity).write(run_dir)


def write_summary(run_dir: Path, figures: dict[str, float]) -> None:
    """Leave the figures of a finished run: losses, shares, evaluation."""
    replace_file(run_dir / SUMMARY_FILE, json.dumps(figures, indent=1).encode())


def read_summary(run_dir: Path) -> dict[str, float]:
    """The figures of a finished run."""
    figures: dict[str, float] = json.loads((run_dir / SUMMARY_FILE).read_text(encoding="utf-8"))
    return figures
