"""Which checkpoint a run continues from."""

import shutil
from pathlib import Path

from vlm3.errors import IncompleteCheckpointError
from vlm3.log import get_logger
from vlm3.train.checkpoint import read_state

log = get_logger(__name__)
PREFIX = "step-"


def checkpoint_name(step: int) -> str:
    """Folder name of the checkpoint after `step` steps; names sort in the order of steps."""
    return f"{PREFIX}{step:09d}"


def latest_checkpoint(run_dir: Path) -> Path | None:
    """The newest complete checkpoint of a run, None if there is none; incomplete ones are skipped and logged.

    Raises:
        CheckpointError: a state file cannot be read, or is of another version.
    """
    for folder in sorted(run_dir.glob(f"{PREFIX}*"), reverse=True):
        try:
            read_state(folder)
        except IncompleteCheckpointError as error:
            log.warning("passing over a checkpoint: %s", error)
            continue
        return folder
    return None


def discard_incomplete(run_dir: Path) -> None:
    """Remove checkpoints newer than the latest complete one: they were being written when the run stopped."""
    latest = latest_checkpoint(run_dir)
    for folder in run_dir.glob(f"{PREFIX}*"):
        if latest is None or folder.name > latest.name:
            shutil.rmtree(folder)
