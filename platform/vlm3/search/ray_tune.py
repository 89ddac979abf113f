"""Runs the trials of a mixture search with Ray Tune. The only file of the search that uses Ray."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import ray.cloudpickle
import ray.tune
from ray.tune.search import Searcher

from vlm3.errors import UserError
from vlm3.log import get_logger
from vlm3.search.config import SearchConfig
from vlm3.search.space import MixtureSpace
from vlm3.search.trials import Trial, TrialState

DRIVER_CPUS = 0.1
"""CPUs reserved by a trial itself; its training reserves its own, and would find too few if this were a whole CPU."""
TUNE_FOLDER = "ray-tune"

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """The result of a trial's training."""

    score: float
    run_id: str | None = None
    """Id of the training's MLflow run."""


class TrainTrial(Protocol):
    """Trains one mixture in a process of its own, so it must be picklable. An exception fails only that trial."""

    def __call__(self, number: int, weights: dict[str, float]) -> TrialOutcome:
        """Train trial `number` with these weights of the recipe's sources."""
        ...


class AllTrialsFailedError(UserError):
    """No trial of a search finished."""


def search(
    config: SearchConfig,
    space: MixtureSpace,
    train_trial: TrainTrial,
    folder: Path,
    *,
    known: Sequence[Trial],
    on_change: Callable[[Sequence[Trial]], None],
) -> tuple[Trial, ...]:
    """Run trials until `config.trials` have finished or failed.

    Args:
        config: settings: how many trials, how many at a time, and which score is better.
        space: proposes the mixtures.
        train_trial: trains one mixture.
        folder: folder of the search; Ray Tune writes below it.
        known: trials of an interrupted search; those that were running are repeated.
        on_change: called with all trials whenever one starts or settles.

    Returns:
        All trials in the order they started.

    Raises:
        AllTrialsFailedError: no trial finished; quotes the first error.
        KeyboardInterrupt: the user interrupted; `on_change` was called for all trials that had settled.
    """
    settled = [trial for trial in known if trial.state is not TrialState.RUNNING]
    first_number = 1 + max((trial.number for trial in known), default=-1)
    log = _TrialLog(config, space, settled, first_number, on_change)
    if len(settled) < config.trials:
        _fit(config, space, train_trial, folder, log)
    trials = tuple(log.trials)
    if any(trial.state is TrialState.RUNNING for trial in trials):
        raise KeyboardInterrupt
    if not any(trial.state is TrialState.FINISHED for trial in trials):
        raise AllTrialsFailedError(f"all {len(trials)} trials of the search failed; the first: {trials[0].error}")
    return trials


def _fit(config: SearchConfig, space: MixtureSpace, train_trial: TrainTrial, folder: Path, log: "_TrialLog") -> None:
    def run_trial(proposed: dict[str, Any]) -> None:
        try:
            outcome = train_trial(proposed["number"], space.recipe_weights(proposed["weights"]))
        except UserError as error:
            # An expected failure is a result of the search; any other exception fails loudly in Tune.
            ray.tune.report({"score": math.nan, "run_id": None, "error": str(error)})
        else:
            ray.tune.report({"score": outcome.score, "run_id": outcome.run_id, "error": None})

    tuner = ray.tune.Tuner(
        ray.tune.with_resources(run_trial, {"cpu": DRIVER_CPUS}),
        tune_config=ray.tune.TuneConfig(
            metric="score",
            mode=config.mode,
            search_alg=_Proposer(log),
            num_samples=config.trials - len(log.trials),
            max_concurrent_trials=config.max_concurrent,
            trial_dirname_creator=lambda trial: f"trial-{trial.config['number']:03d}",
        ),
        run_config=ray.tune.RunConfig(
            name=f"{TUNE_FOLDER}-{log.next_number:03d}",
            storage_path=str(folder.resolve()),
            failure_config=ray.tune.FailureConfig(max_failures=0, fail_fast=False),
            callbacks=[_Recorder(log)],
            verbose=0,
        ),
    )
    tuner.fit()


class _TrialLog:
    """The trials so far, shared by Tune's proposer and recorder, which are both in the driver."""

    def __init__(
        self,
        config: SearchConfig,
        space: MixtureSpace,
        settled: Sequence[Trial],
        next_number: int,
        on_change: Callable[[Sequence[Trial]], None],
    ) -> None:
        self.trials = list(settled)
        self.next_number = next_number
        self._config, self._space, self._on_change = config, space, on_change
        self._started: dict[int, float] = {}

    def start(self) -> Trial:
        weights = self._space.propose(self.trials, self._config.seed, self._config.mode)
        trial = Trial(self.next_number, weights)
        self.next_number += 1
        self._started[trial.number] = time.monotonic()
        self.trials.append(trial)
        self._on_change(self.trials)
        return trial

    def settle(self, number: int, state: TrialState, **changes: Any) -> None:
        seconds = time.monotonic() - self._started[number]
        index = next(index for index, trial in enumerate(self.trials) if trial.number == number)
        self.trials[index] = replace(self.trials[index], state=state, seconds=seconds, **changes)
        self._on_change(self.trials)


class _Proposer(Searcher):  # type: ignore[misc] # Ray has no types here
    """Gives Tune the next mixture when it has room for a trial."""

    def __init__(self, log: _TrialLog) -> None:
        super().__init__()
        self._log = log

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> dict[str, Any]:
        trial = self._log.start()
        return {"number": trial.number, "weights": list(trial.weights)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing: the recorder settles the trial, since only it gets the error's text."""

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the trial log holds all state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the trial log holds all state."""


class _Recorder(ray.tune.Callback):  # type: ignore[misc] # Ray has no types here
    """Settles trials when Tune reports their end."""

    def __init__(self, log: _TrialLog) -> None:
        self._log = log

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        result = trial.last_result
        if result["error"] is not None:
            self._fail(trial, result["error"])
        else:
            number, state = trial.config["number"], TrialState.FINISHED
            self._log.settle(number, state, score=result["score"], run_id=result["run_id"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        with Path(trial.pickled_error_file).open("rb") as file:
            error = ray.cloudpickle.load(file)
        cause = getattr(error, "cause", None) or error
        self._fail(trial, f"{type(cause).__name__}: {cause}")

    def _fail(self, trial: Any, error: str) -> None:
        line = error.strip().splitlines()[0]
        logger.warning("trial %d failed: %s", trial.config["number"], line)
        self._log.settle(trial.config["number"], TrialState.FAILED, error=line)
