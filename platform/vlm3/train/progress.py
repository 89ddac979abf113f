"""How far a run is, in one small file: the driver shows it as a bar, anyone may read it."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

FILE_NAME = "progress.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a run as of its last step."""

    step: int
    total_steps: int
    loss: float
    samples_per_s: float
    data_wait_share: float
    """Share of the step's time that the trainer waited for data."""
    activity: str = "training"

    def write(self, run_dir: Path) -> None:
        """Replace the run's progress file atomically."""
        temporary = run_dir / f".{FILE_NAME}.{os.getpid()}"
        temporary.write_text(json.dumps(asdict(self)), encoding="utf-8")
        temporary.replace(run_dir / FILE_NAME)


def read_progress(run_dir: Path) -> Progress | None:
    """The last written progress, None before the first step."""
    try:
        return Progress(**json.loads((run_dir / FILE_NAME).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
