"""The end of a training run: its export is registered, and the best version becomes the champion."""

from dataclasses import dataclass
from pathlib import Path

from pipelines.run_file import require_same_scores
from pipelines.runs import RunRequest
from vlm3.log import get_logger
from vlm3.scenes.sharded import ShardedSource
from vlm3.tasks import IN_LOOP
from vlm3.tracking.registry import evaluation_identity, promote_if_better, register, version_of_run
from vlm3.tracking.runs import TrackedRun, prepare_tracking, start_run, tracking_uri
from vlm3.train.checkpoint import read_state
from vlm3.train.progress import SUMMARY_FILE, read_summary
from vlm3.train.recipe import Recipe
from vlm3.train.resume import latest_checkpoint
from vlm3.train.worker_config import EXPORT_FOLDER

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Results of a finished run."""

    run_id: str
    metrics: dict[str, float]
    export_dir: Path
    version: int | None
    """Registered model version; None if not registered."""
    promoted: bool
    """True if the alias `champion` moved to this version."""


def finished(recipe: Recipe, request: RunRequest, run_dir: Path, run_id: str) -> TrainResult | None:
    """The result of a run that is trained and registered; None if anything may be left to do. Needs no cluster."""
    if not _has_figures(run_dir, recipe):
        return None
    version = version_of_run(recipe.tracking, prepare_tracking(recipe.tracking, request.runs_dir), run_id)
    return None if version is None else _nothing_to_do(request, run_dir, run_id, version)


def is_trained(run_dir: Path, recipe: Recipe, evaluated: tuple[ShardedSource, ...]) -> bool:
    """Whether all steps of a run are done and its figures are there; workers write them last, after the export."""
    if not _has_figures(run_dir, recipe):
        return False
    metric = _decisive(recipe, evaluated)
    return metric is None or metric in read_summary(run_dir)


def complete(
    recipe: Recipe, request: RunRequest, run_dir: Path, run_id: str, evaluated: tuple[ShardedSource, ...]
) -> TrainResult:
    """Register the export of a trained run that was stopped before it could; does nothing if that is not needed."""
    version = version_of_run(recipe.tracking, tracking_uri(recipe.tracking, request.runs_dir), run_id)
    if version is not None or not request.register or _decisive(recipe, evaluated) is None:
        return _nothing_to_do(request, run_dir, run_id, version)
    metrics, export_dir = read_summary(run_dir), run_dir / EXPORT_FOLDER
    require_same_scores(run_dir, recipe, request)
    log.info("all %d steps are done: only the registration is missing", recipe.train.steps)
    with start_run(recipe.tracking, request.runs_dir, request.name, request.kind, run_id=run_id) as run:
        return finish(recipe, request, run, metrics, export_dir, evaluated)


def finish(
    recipe: Recipe,
    request: RunRequest,
    run: TrackedRun,
    metrics: dict[str, float],
    export_dir: Path,
    evaluated: tuple[ShardedSource, ...],
) -> TrainResult:
    """Register an export with its score if the request wants it and a source was evaluated; promote it if it is better.

    Raises:
        DataError: there is no export.
    """
    version, promoted = None, False
    primary, metric = _primary(recipe, evaluated), _decisive(recipe, evaluated)
    if request.register and metric is not None:
        uri = tracking_uri(recipe.tracking, request.runs_dir)
        fingerprint = next(source.fingerprint for source in evaluated if source.name == primary)
        evaluation = recipe.evaluation
        # The summary lacks it if an earlier version of this package finished the run.
        left_out = int(metrics.get(f"eval/{primary}/not_asked_count", 0))
        asked = evaluation_identity(fingerprint, evaluation.images, evaluation.points, recipe.seed, left_out)
        version = register(recipe.tracking, uri, run.run_id, export_dir, metric, metrics[metric], asked)
        promoted = promote_if_better(recipe.tracking, uri, version, metric, metrics[metric])
    return TrainResult(run.run_id, metrics, export_dir, version, promoted)


def _has_figures(run_dir: Path, recipe: Recipe) -> bool:
    saved = latest_checkpoint(run_dir)
    return saved is not None and read_state(saved).step >= recipe.train.steps and (run_dir / SUMMARY_FILE).is_file()


def _nothing_to_do(request: RunRequest, run_dir: Path, run_id: str, version: int | None) -> TrainResult:
    log.info("run %s is finished: nothing to do", request.name)
    return TrainResult(run_id, read_summary(run_dir), run_dir / EXPORT_FOLDER, version, promoted=False)


def _primary(recipe: Recipe, evaluated: tuple[ShardedSource, ...]) -> str | None:
    return recipe.evaluation.primary or (evaluated[0].name if evaluated else None)


def _decisive(recipe: Recipe, evaluated: tuple[ShardedSource, ...]) -> str | None:
    """Name of the metric that decides about the champion; None if nothing is evaluated."""
    primary = _primary(recipe, evaluated)
    return None if primary is None else f"eval/{primary}/{IN_LOOP.table.headlines[0].metric}"
