"""Where runs live: checkpoints, exports, rendered data and the MLflow database."""

import os
from pathlib import Path

from vlm3.log import get_logger

log = get_logger(__name__)
VARIABLE = "VLM3_RUNS"


def runs_folder(given: Path | None = None) -> Path:
    """The runs folder, made if missing: `given`, else $VLM3_RUNS, else ./runs.

    In a job submitted with `--working-dir` the current folder is Ray's temporary copy, which goes with its node's
    session; runs then go to ~/.vlm3/runs, and the log says so.
    """
    named = given or os.environ.get(VARIABLE)
    folder = Path(named) if named else _default()
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _default() -> Path:
    here = Path.cwd()
    if "runtime_resources" in here.parts and "working_dir_files" in here.parts:
        folder = Path.home() / ".vlm3" / "runs"
        log.warning("running in Ray's copy of the working directory: runs go to %s; set %s to choose", folder, VARIABLE)
        return folder
    return here / "runs"
