"""A mixture search: short trainings of one recipe with different weights, in one MLflow tree, to find the best one."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pipelines.interrupts import interruptible
from pipelines.progress import figures, watching
from pipelines.runs import RunRequest
from pipelines.sources import open_sources
from pipelines.train import run_training
from vlm3.config import apply_overrides
from vlm3.errors import ConfigError
from vlm3.log import configure, get_logger
from vlm3.models.load import require_model
from vlm3.search.config import SearchConfig
from vlm3.search.ray_tune import TrialOutcome, search
from vlm3.search.report import winning_mixture, write_report
from vlm3.search.space import MixtureSpace
from vlm3.search.trials import SearchState, Trial, TrialState, best_first, metric_value, read_state
from vlm3.tracking.client import VARIABLE as TRACKING_VARIABLE
from vlm3.tracking.client import tracking_uri
from vlm3.tracking.runs import TrackedRun, start_run
from vlm3.train.progress import read_progress
from vlm3.train.recipe import Recipe

log = get_logger(__name__)
SEARCH_FOLDER = "search"
STATE_FILE = "search.json"
LINES = 6
"""Lines of progress over a whole search where there is no terminal; every trial adds one of its own."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Results of a search."""

    run_id: str
    folder: Path
    """Holds trials.csv, trials.md, trials.png and mixture.yaml."""
    space: MixtureSpace
    trials: tuple[Trial, ...]
    weights: dict[str, float]
    """The best mixture, as weights of the recipe's sources."""


@dataclass(frozen=True, slots=True)
class RecipeTrial:
    """Function that trains the recipe with the weights of one trial; pickled into each trial's process."""

    recipe: Recipe
    config: SearchConfig
    name: str
    runs_dir: Path
    run_id: str
    store: str
    """URI of the MLflow store; the environment of a node may name another than that of the search."""

    def __call__(self, number: int, weights: dict[str, float]) -> TrialOutcome:
        """Train, read the metric, and remove the trial's folder: only its score and its MLflow run are kept."""
        configure("WARNING")  # the search itself logs the scores of its trials
        os.environ[TRACKING_VARIABLE] = self.store
        name = f"{self.name}-{number:03d}"
        recipe = trial_recipe(self.recipe, self.config, weights)
        request = RunRequest(name, self.runs_dir, kind="trial", parent_run_id=self.run_id, register=False)
        result = run_training(recipe, request)
        score = metric_value(result.metrics, self.config.metric)
        shutil.rmtree(self.runs_dir / request.kind / name)
        return TrialOutcome(score, result.run_id)


def run_search(config: SearchConfig, recipe: Recipe, name: str, runs_dir: Path, resume: bool = False) -> SearchResult:
    """Search the mixture weights of a recipe; joins or starts a Ray cluster once everything is checked.

    Args:
        config: what to try.
        recipe: what every trial trains.
        name: name of the search; its folder is `search/NAME` in the runs folder.
        runs_dir: the runs folder.
        resume: continue the search of that name; its finished trials are kept.

    Raises:
        UserError: configuration or data are wrong, or every trial failed.
    """
    space = MixtureSpace.of(
        {source: entry.weight for source, entry in recipe.sources.items()}, config.sources, config.floor
    )
    _check_decides(recipe, space)
    # Wrong overrides, and a model that no trial could train, are refused before anything runs.
    require_model(trial_recipe(recipe, config, space.recipe_weights(space.given)).model)
    folder = runs_dir / SEARCH_FOLDER / name
    identity = _identity(config, recipe)
    known = _claim(folder, identity, resume)
    open_sources(recipe, runs_dir)  # renders what is missing once; otherwise each trial would do it
    run_id = known.run_id if known else None
    with start_run(recipe.tracking, runs_dir, name, "search", run_id=run_id) as run:
        run.params({"search": config.model_dump(mode="json"), "recipe": recipe.plain()}, artifact="search.yaml")
        journal = _Journal(SearchState(identity, run.run_id, known.trials if known else ()), folder / STATE_FILE)
        train_trial = RecipeTrial(recipe, config, name, runs_dir, run.run_id, tracking_uri(recipe.tracking, runs_dir))
        known_trials = journal.state.trials
        total = config.trials * config.steps
        look = partial(_reached, journal, config, runs_dir / "trial", name)
        with journal, watching("search: step", total, look, lines=LINES):
            trials = interruptible(
                lambda: search(config, space, train_trial, folder, known=known_trials, on_change=journal.update)
            )
        return _conclude(run, config, space, trials, folder)


def trial_recipe(recipe: Recipe, config: SearchConfig, weights: dict[str, float]) -> Recipe:
    """The recipe of a trial: its own weights, few steps, one evaluation at the end.

    Raises:
        ConfigError: an override does not fit the recipe.
    """
    data = recipe.plain()
    data["evaluation"]["every_steps"] = config.steps
    data["train"] |= {"steps": config.steps, "checkpoint_every_steps": config.steps, "gallery_samples": 0}
    if config.max_concurrent > 1:
        # Actors keep their CPUs until their run ends, so a second trial would wait for the first to finish.
        data["stream"]["decode"] |= {"pool": "tasks", "actors": None}
    data = apply_overrides(data, config.overrides)
    for source, weight in weights.items():
        data["sources"][source]["weight"] = weight
    return Recipe.parse(data, "recipe of a trial")


class _Journal:
    """Keeps the state file up to date and logs finished trials."""

    def __init__(self, state: SearchState, path: Path) -> None:
        self.state, self._path = state, path
        self._closed = False
        state.write(path)

    def __enter__(self) -> None:
        """Begin the search; nothing to prepare."""

    def __exit__(self, *error: object) -> None:
        """Take no more updates: trials that an interruption ends have not failed, and will be repeated."""
        self._closed = True

    def update(self, trials: Sequence[Trial]) -> None:
        if self._closed:
            return
        settled = [trial for trial in trials if trial not in self.state.trials and trial.state is TrialState.FINISHED]
        self.state = replace(self.state, trials=tuple(trials))
        self.state.write(self._path)
        for trial in settled:
            shares = ", ".join(f"{weight:.3f}" for weight in trial.weights)
            log.info("trial %d: shares %s reach %.4f in %.0f s", trial.number, shares, trial.score, trial.seconds)


def _reached(journal: _Journal, config: SearchConfig, trials_dir: Path, name: str) -> tuple[int, str]:
    """Number of steps done in all trials, and text on the progress of those that are running."""
    trials = journal.state.trials
    running = [trial for trial in trials if trial.state is TrialState.RUNNING]
    now = {trial.number: read_progress(trials_dir / f"{name}-{trial.number:03d}") for trial in running}
    steps = (len(trials) - len(running)) * config.steps + sum(seen.step for seen in now.values() if seen is not None)
    told = (f"trial {number}: {figures(seen) if seen else 'starting'}" for number, seen in now.items())
    return steps, "; ".join(told)


def _conclude(
    run: TrackedRun, config: SearchConfig, space: MixtureSpace, trials: tuple[Trial, ...], folder: Path
) -> SearchResult:
    for trial in trials:
        if trial.score is not None:
            shares = {f"share/{source}": share for source, share in zip(space.names, trial.weights, strict=True)}
            run.metrics({"score": trial.score} | shares, trial.number)
    write_report(folder, space, trials, config.metric, config.mode)
    for name in ("trials.csv", "trials.md", "trials.png", "mixture.yaml"):
        run.file(folder / name)
    best = best_first(trials, config.mode)[0]
    assert best.score is not None
    run.metrics({"best/score": best.score, "best/trial": best.number})
    return SearchResult(run.run_id, folder, space, trials, winning_mixture(space, trials, config.mode))


def _claim(folder: Path, identity: str, resume: bool) -> SearchState | None:
    state = folder / STATE_FILE
    if resume:
        return read_state(state, identity)
    if state.exists():
        raise ConfigError(
            f"search {folder.name!r} exists in {folder}: continue it with --resume {folder.name},"
            " or choose another --name"
        )
    return None


def _check_decides(recipe: Recipe, space: MixtureSpace) -> None:
    """Refuse to vary the weight of a source if the recipe sets, at the start or later, the weight of its components."""
    for component in recipe.mixture.weights:
        if component.rpartition("/")[0] in space.names:
            raise ConfigError(
                f"mixture.weights.{component} of the recipe overrules the source weight that the search varies:"
                " remove it, or leave that source out of the search's sources"
            )
    for index, entry in enumerate(recipe.mixture.schedule):
        for component in entry.weights:
            if component.rpartition("/")[0] in space.names:
                raise ConfigError(
                    f"mixture.schedule.{index}.weights.{component} of the recipe overrules from step {entry.at_step} on"
                    " what the search varies: remove it, or leave that source out of the search's sources"
                )


def _identity(config: SearchConfig, recipe: Recipe) -> str:
    """Hash of everything that scores depend on; more trials, or more of them at a time, are the same search."""
    data = {"recipe": recipe.plain(), "search": config.model_dump(mode="json")}
    for key in ("recipe", "trials", "max_concurrent"):
        data["search"].pop(key)
    for key in ("name", "tracking"):
        data["recipe"].pop(key)
    data["recipe"]["train"].pop("wait_for_nodes_s")
    for source in data["recipe"]["sources"].values():
        if source["role"] == "train":
            source.pop("role")  # searches of earlier versions know none
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
