"""Where runs live: checkpoints, exports, rendered data and the MLflow database."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vlm3.errors import ConfigError
from vlm3.log import get_logger

log = get_logger(__name__)
VARIABLE = "VLM3_RUNS"


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run to start or to continue: its name and place, and whether its model is registered."""

    name: str
    runs_dir: Path
    kind: Literal["train", "trial"] = "train"
    parent_run_id: str | None = None
    resume: bool = False
    register: bool = True


def runs_folder(given: Path | None = None) -> Path:
    """The runs folder, made if missing: `given`, else $VLM3_RUNS, else ./runs.

    In a job submitted with `--working-dir` the current folder is Ray's temporary copy, which is deleted when Ray stops
    on the node; runs then go to ~/.vlm3/runs, and the log says so.
    """
    named = given or os.environ.get(VARIABLE)
    folder = Path(named) if named else _default()
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def only_driver(runs_dir: Path, kind: str, name: str) -> Iterator[None]:
    """Lock a run's name while the block runs: two drivers would overwrite each other's checkpoints.

    The lock is released when its process ends, however it ends.

    Raises:
        ConfigError: another process drives the run.
    """
    file = runs_dir / "locks" / f"{kind}-{name}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.seek(0)
            raise ConfigError(
                f"run {name!r} is being driven by {held.read() or 'another process'}: wait for it or stop it, or choose"
                " another --name"
            ) from None
        except OSError as error:
            # Some shared file systems have no locks, which is no reason to refuse to train.
            log.warning("%s cannot be locked (%s): take care that run %s is driven only once", file, error, name)
        held.truncate(0)
        held.write(f"process {os.getpid()} on {socket.gethostname()}")
        held.flush()
        yield


def _default() -> Path:
    here = Path.cwd()
    if "runtime_resources" in here.parts and "working_dir_files" in here.parts:
        folder = Path.home() / ".vlm3" / "runs"
        log.warning("running in Ray's copy of the working directory: runs go to %s; set %s to choose", folder, VARIABLE)
        return folder
    return here / "runs"
