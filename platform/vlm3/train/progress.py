"""Two small files in a run's folder: its progress, and its figures at the end. The driver shows them."""

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
    """What the workers do now, for example "evaluating"."""

    def write(self, run_dir: Path) -> None:
        """Replace the run's progress file atomically."""
        # Written at every step and read only while the run goes on, so it need not be flushed to disk.
        replace_file(run_dir / FILE_NAME, json.dumps(asdict(self)).encode(), durable=False)


def read_progress(run_dir: Path) -> Progress | None:
    """The progress written last; None before the first step."""
    try:
        return Progress(**json.loads((run_dir / FILE_NAME).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def forget_progress(run_dir: Path) -> None:
    """Delete the progress file: a run that continues from its last checkpoint may have got further before."""
    (run_dir / FILE_NAME).unlink(missing_ok=True)


def tell_activity(run_dir: Path, activity: str) -> None:
    """Record what the run does between two steps, for example "evaluating". The next step sets "training" again."""
    now = read_progress(run_dir)
    if now is not None:
        replace(now, activity=activity).write(run_dir)


def write_summary(run_dir: Path, figures: dict[str, float]) -> None:
    """Write the figures of a finished run: losses, shares, scores."""
    replace_file(run_dir / SUMMARY_FILE, json.dumps(figures, indent=1).encode())


def read_summary(run_dir: Path) -> dict[str, float]:
    """The figures of a finished run."""
    figures: dict[str, float] = json.loads((run_dir / SUMMARY_FILE).read_text(encoding="utf-8"))
    return figures
