"""The trials of a search, kept in one small file so that it can go on after an interruption."""

import fnmatch
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from vlm3.errors import CheckpointError, ConfigError, nearest
from vlm3.storage.atomic import replace_file


class TrialState(StrEnum):
    """State of a trial."""

    RUNNING = "running"
    """Running, or interrupted together with the search: then it is repeated under another number."""
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Trial:
    """One mixture and its result."""

    number: int
    weights: tuple[float, ...]
    """Shares of the varied sources among themselves; they sum to 1."""
    state: TrialState = TrialState.RUNNING
    score: float | None = None
    error: str | None = None
    run_id: str | None = None
    """Id of the training's MLflow run."""
    seconds: float | None = None


def best_first(trials: Sequence[Trial], mode: Literal["max", "min"]) -> list[Trial]:
    """Finished trials from best to worst, then the others by number."""
    sign = -1.0 if mode == "max" else 1.0
    return sorted(trials, key=lambda t: (t.score is None, sign * t.score if t.score is not None else 0.0, t.number))


def metric_value(metrics: Mapping[str, float], pattern: str) -> float:
    """Value of the metric that `pattern` names; the mean of all that match if it holds a `*`.

    Raises:
        ConfigError: nothing matches, or the value is not finite.
    """
    matching = sorted(fnmatch.filter(metrics, pattern))
    if not matching:
        raise ConfigError(f"metric {pattern!r}: no such result of a training{nearest(pattern, metrics)}")
    value = sum(metrics[name] for name in matching) / len(matching)
    if not math.isfinite(value):
        raise ConfigError(f"metric {pattern!r} is {value} (of {', '.join(matching)}): the training did not measure it")
    return value


@dataclass(frozen=True, slots=True)
class SearchState:
    """Everything that a search needs to go on after an interruption."""

    identity: str
    """Hash of what is searched; a search can go on only if it is the same."""
    run_id: str
    """Id of the search's MLflow run."""
    trials: tuple[Trial, ...]

    def write(self, path: Path) -> None:
        """Replace the file at `path`, atomically."""
        replace_file(path, json.dumps(asdict(self), indent=1).encode())


def read_state(path: Path, identity: str) -> SearchState:
    """The state of a search, read from its file.

    Raises:
        CheckpointError: there is no such search, or it was started with other settings.
    """
    if not path.is_file():
        raise CheckpointError(f"no search to go on with in {path.parent}; start one with --name {path.parent.name}")
    data = json.loads(path.read_text(encoding="utf-8"))
    if data["identity"] != identity:
        raise CheckpointError(
            f"{path.parent}: this search was started with another recipe, sources, steps, floor or metric;"
            " go on with the same, or start one under another name"
        )
    trials = tuple(
        Trial(**{**entry, "weights": tuple(entry["weights"]), "state": TrialState(entry["state"])})
        for entry in data["trials"]
    )
    return SearchState(identity, data["run_id"], trials)
