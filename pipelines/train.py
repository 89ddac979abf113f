"""A training run: sources, plan and model resolved, then Ray Train over the stream, then the registry."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import ray.data

from pipelines.cluster import connect, starts_its_own
from pipelines.failures import user_error
from pipelines.interrupts import interruptible
from pipelines.progress import progress_bar
from pipelines.reading import ClipReader
from pipelines.runs import only_driver
from pipelines.samples import SampleBuilder, keep_encoder
from pipelines.sources import LiveGate, components, evaluated_sources, open_sources, require_labels, task_names
from pipelines.stream import in_order
from pipelines.train_stream import StreamFactory, saved_ledger, step_shape, work
from pipelines.weights import component_sizes, keep_plan, start_plan
from vlm3.config import dump_yaml
from vlm3.errors import CheckpointError, ConfigError
from vlm3.log import get_logger
from vlm3.mixture.plan import MixturePlan
from vlm3.models.load import resolve_model
from vlm3.scenes.sharded import ShardedSource
from vlm3.storage.failures import StorageError
from vlm3.storage.store import open_store
from vlm3.tokens.encode import ConversationEncoder
from vlm3.tokens.vision import VisionSpec
from vlm3.tracking.registry import evaluation_identity, promote_if_better, register, version_of_run
from vlm3.tracking.runs import TrackedRun, prepare_tracking, start_run, tracking_uri
from vlm3.train.checkpoint import read_state
from vlm3.train.progress import SUMMARY_FILE, forget_progress, read_summary
from vlm3.train.recipe import Recipe
from vlm3.train.resume import discard_incomplete, latest_checkpoint
from vlm3.train.worker_config import EXPORT_FOLDER, STREAM, WorkerConfig

if TYPE_CHECKING:
    import ray.train.torch

log = get_logger(__name__)
RUN_FILE = "run.json"
PADDED = "padded"
"""How images end on whole tokens. Earlier versions cut them, and their runs do not say."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Where a run lives and what becomes of it."""

    name: str
    runs_dir: Path
    kind: Literal["train", "trial"] = "train"
    parent_run_id: str | None = None
    resume: bool = False
    register: bool = True


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a finished run leaves."""

    run_id: str
    metrics: dict[str, float]
    export_dir: Path
    version: int | None
    """Registered model version, None when not registered."""
    promoted: bool
    """True when the alias `champion` moved to this version."""


def run_training(recipe: Recipe, request: RunRequest) -> TrainResult:
    """Train a recipe to its last step; evaluates, exports and registers.

    On the connected Ray cluster; where there is none, one is joined or started once everything was checked that can be
    checked without.

    Raises:
        UserError: the recipe, its data or its checkpoint cannot be used as asked; nothing half-written remains.
        ray.train.TrainingFailedError: a worker failed for another reason.
    """
    step_shape(recipe)
    with only_driver(request.runs_dir, request.kind, request.name):
        return _drive(recipe, request)


def _drive(recipe: Recipe, request: RunRequest) -> TrainResult:
    run_dir = (request.runs_dir / request.kind / request.name).resolve()
    log.info("run %s in %s", request.name, run_dir)
    saved_run_id = _claim(run_dir, recipe, request)
    if recipe.train.device == "cuda" and starts_its_own():
        from vlm3.train.engine import require_device

        require_device(recipe.train.device)
    sources = open_sources(recipe, request.runs_dir, partial(_connect_and_check, recipe))
    model_dir = resolve_model(recipe.model, request.runs_dir / "models", recipe.seed)
    parts, weights = components(recipe, sources, VisionSpec.from_directory(model_dir))
    sizes = component_sizes([(part.name, part.source) for part in parts])
    saved = latest_checkpoint(run_dir)
    # Other data under the same name is refused here.
    plan = start_plan(recipe, parts, weights) if saved is None else MixturePlan.from_json(read_state(saved).plan, sizes)
    drawn = plan.ever_drawn(recipe.train.steps * recipe.train.global_batch)
    evaluated = evaluated_sources(recipe, sources, task_names(drawn))
    require_labels(part for part in parts if part.name in drawn)
    encoder = ConversationEncoder.from_directory(model_dir)

    prepare_tracking(recipe.tracking, request.runs_dir)
    if saved_run_id is not None and _is_trained(run_dir, recipe, evaluated):
        return _complete(recipe, request, run_dir, saved_run_id, evaluated)
    with start_run(
        recipe.tracking, request.runs_dir, request.name, request.kind, request.parent_run_id, saved_run_id
    ) as run:
        run_dir.mkdir(parents=True, exist_ok=True)
        if saved_run_id is not None:
            tell_of_cut_images(run_dir / RUN_FILE)
        state = {"run_id": run.run_id, "recipe_fingerprint": recipe.fingerprint(), "evaluation": _asked(recipe)}
        state["images"] = PADDED
        open_store(str(run_dir)).write_atomic(RUN_FILE, json.dumps(state).encode())
        builder = SampleBuilder(ClipReader(parts, recipe.stream.read.ahead), keep_encoder(encoder, run_dir))
        _describe(run, recipe, sources, builder, plan, drawn)
        train = recipe.train
        gate = LiveGate(parts, task_names(drawn))
        owner = keep_plan(run_dir, plan, train.steps, train.global_batch, saved_ledger(run_dir).stop, gate)
        worker = WorkerConfig(
            recipe=recipe,
            run_dir=run_dir,
            model_dir=model_dir,
            tracking_uri=tracking_uri(recipe.tracking, request.runs_dir),
            run_id=run.run_id,
            plan=plan,
            evaluated=evaluated,
        )
        metrics = _fit(worker, StreamFactory(builder, owner, run_dir, recipe))
        return _finish(recipe, request, run, metrics, run_dir / EXPORT_FOLDER, evaluated)


def _fit(worker: WorkerConfig, factory: StreamFactory) -> dict[str, float]:
    """Train to the end; starts again from the last checkpoint where a restart may help.

    It does not where the user has to put something right: only a store that failed may be well again.
    """
    # Takes seconds, which nobody wants to wait for whose recipe is refused.
    import ray.train

    restarts = worker.recipe.train.max_restarts
    while True:
        forget_progress(worker.run_dir)
        try:
            with progress_bar(worker.run_dir, worker.recipe.train.steps):
                interruptible(_trainer(worker, factory).fit)
            return read_summary(worker.run_dir)
        except ray.train.TrainingFailedError as error:
            understood = user_error(error)
            healing = understood is None or isinstance(understood, StorageError)
            if restarts == 0 or not healing:
                if understood is None:
                    raise
                raise understood from error
            log.warning("training stopped: %s; starting again from the last checkpoint", understood or error)
        restarts -= 1
        discard_incomplete(worker.run_dir)


def _trainer(worker: WorkerConfig, factory: StreamFactory) -> "ray.train.torch.TorchTrainer":
    import ray.train.torch

    train = worker.recipe.train
    execution = ray.data.ExecutionOptions(preserve_order=in_order(worker.recipe.stream, step_shape(worker.recipe)))
    return ray.train.torch.TorchTrainer(
        work,
        train_loop_config={"worker": worker},
        scaling_config=ray.train.ScalingConfig(
            num_workers=train.workers,
            use_gpu=train.device == "cuda",
            resources_per_worker={"CPU": train.cpus_per_worker} | ({"GPU": 1} if train.device == "cuda" else {}),
        ),
        run_config=ray.train.RunConfig(
            name=worker.run_dir.name,
            storage_path=str(worker.run_dir.parent),
            failure_config=ray.train.FailureConfig(max_failures=0),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=train.keep_checkpoints),
        ),
        datasets={STREAM: factory},
        dataset_config=ray.train.DataConfig(execution_options=execution),
    )


def _finish(
    recipe: Recipe,
    request: RunRequest,
    run: TrackedRun,
    metrics: dict[str, float],
    export_dir: Path,
    evaluated: tuple[ShardedSource, ...],
) -> TrainResult:
    version, promoted = None, False
    primary, metric = _primary(recipe, evaluated), _decisive(recipe, evaluated)
    if request.register and metric is not None:
        uri = tracking_uri(recipe.tracking, request.runs_dir)
        fingerprint = next(source.fingerprint for source in evaluated if source.name == primary)
        asked = evaluation_identity(fingerprint, recipe.evaluation.images, recipe.evaluation.points, recipe.seed)
        version = register(recipe.tracking, uri, run.run_id, export_dir, metric, metrics[metric], asked)
        promoted = promote_if_better(recipe.tracking, uri, version, metric, metrics[metric])
    return TrainResult(run.run_id, metrics, export_dir, version, promoted)


def _primary(recipe: Recipe, evaluated: tuple[ShardedSource, ...]) -> str | None:
    return recipe.evaluation.primary or (evaluated[0].name if evaluated else None)


def _decisive(recipe: Recipe, evaluated: tuple[ShardedSource, ...]) -> str | None:
    """Name of the metric that decides about the champion; None where nothing is evaluated."""
    primary = _primary(recipe, evaluated)
    return None if primary is None else f"eval/{primary}/delta1"


def _asked(recipe: Recipe) -> dict[str, int]:
    """What scores depend on that may differ between a run and its continuation."""
    return {"images": recipe.evaluation.images, "points": recipe.evaluation.points}


def _is_trained(run_dir: Path, recipe: Recipe, evaluated: tuple[ShardedSource, ...]) -> bool:
    """Whether all steps of a run are done, and its export and figures are there; workers write the figures last."""
    saved = latest_checkpoint(run_dir)
    if saved is None or read_state(saved).step < recipe.train.steps or not (run_dir / SUMMARY_FILE).is_file():
        return False
    metric = _decisive(recipe, evaluated)
    return metric is None or metric in read_summary(run_dir)


def _complete(
    recipe: Recipe, request: RunRequest, run_dir: Path, run_id: str, evaluated: tuple[ShardedSource, ...]
) -> TrainResult:
    """Register what a run left that was stopped before it could; otherwise there is nothing to do."""
    metrics, export_dir = read_summary(run_dir), run_dir / EXPORT_FOLDER
    version = version_of_run(recipe.tracking, tracking_uri(recipe.tracking, request.runs_dir), run_id)
    if version is not None or not request.register or _decisive(recipe, evaluated) is None:
        log.info("run %s is finished: nothing to do", request.name)
        return TrainResult(run_id, metrics, export_dir, version, promoted=False)
    asked = json.loads((run_dir / RUN_FILE).read_text(encoding="utf-8")).get("evaluation", _asked(recipe))
    if asked != _asked(recipe):
        raise CheckpointError(
            f"--resume {request.name}: its scores are of {asked['images']} images and {asked['points']} points each;"
            f" to register it, set evaluation.images={asked['images']} and evaluation.points={asked['points']}"
        )
    log.info("all %d steps are done: only the registration is missing", recipe.train.steps)
    with start_run(recipe.tracking, request.runs_dir, request.name, request.kind, run_id=run_id) as run:
        return _finish(recipe, request, run, metrics, export_dir, evaluated)


def tell_of_cut_images(run_file: Path) -> None:
    """Warn that a run which an earlier version started goes on with other pixels."""
    if json.loads(run_file.read_text(encoding="utf-8")).get("images") != PADDED:
        log.warning(
            "%s: this run began with images cut down to whole tokens; from here on they are filled up to them, as in"
            " evaluation. Start a new run if all of its steps are to see the same",
            run_file.parent.name,
        )


def _connect_and_check(recipe: Recipe) -> None:
    connect()
    _check_sizes(recipe)


def _check_sizes(recipe: Recipe) -> None:
    train = recipe.train
    if train.device == "cuda":
        gpus = int(ray.cluster_resources().get("GPU", 0))
        if gpus < train.workers:
            raise ConfigError(
                f"train.device: cuda with train.workers: {train.workers} needs as many GPUs, the cluster has {gpus};"
                " start nodes with GPUs or use --set train.device=cpu"
            )
    cpus = float(ray.cluster_resources().get("CPU", 0))
    stream = recipe.stream.read.cpus + recipe.stream.decode.cpus * (recipe.stream.decode.actors or 1)
    needed = train.workers * train.cpus_per_worker + stream
    if cpus < needed:
        raise ConfigError(
            f"{train.workers} workers × {train.cpus_per_worker} CPUs + {stream} to read and decode = {needed} CPUs,"
            f" the Ray cluster has {cpus}: training would starve its own data; lower train.cpus_per_worker or add nodes"
        )


def _claim(run_dir: Path, recipe: Recipe, request: RunRequest) -> str | None:
    """Make the run's name ours: a new one must be unused, a resumed one must have been started by the same recipe.

    Returns:
        The MLflow run to continue, None for a new one.
    """
    run_file = run_dir / RUN_FILE
    if not request.resume:
        if run_file.exists():
            raise ConfigError(
                f"run {request.name!r} exists in {run_dir}: continue it with --resume {request.name},"
                " or choose another --name"
            )
        return None
    if not run_file.exists():
        raise CheckpointError(
            f"--resume {request.name}: no such run in {run_dir.parent}; start it with --name {request.name}"
        )
    saved = json.loads(run_file.read_text(encoding="utf-8"))
    if saved["recipe_fingerprint"] != recipe.fingerprint():
        raise CheckpointError(
            f"--resume {request.name}: it was started by another recipe (fingerprint {saved['recipe_fingerprint']},"
            f" this one {recipe.fingerprint()}); resume it with the recipe and --set it was started with"
            " (artifact recipe.yaml of its MLflow run)"
        )
    discard_incomplete(run_dir)
    run_id: str = saved["run_id"]
    return run_id


def _describe(
    run: TrackedRun,
    recipe: Recipe,
    sources: dict[str, ShardedSource],
    builder: SampleBuilder,
    plan: MixturePlan,
    drawn: Sequence[str],
) -> None:
    """What a reader of the MLflow run wants to see first: recipe, data, and samples as the model gets them."""
    run.params(recipe.plain())
    run.text("recipe.yaml", dump_yaml(recipe.plain()))
    trained = {component.rpartition("/")[0] for component in drawn}
    for name, source in sources.items():
        context = "train" if name in trained else "evaluation"
        run.dataset(name, source.uri, source.fingerprint, context)
    wanted = recipe.train.gallery_samples
    if wanted:
        from vlm3.tracking.pictures import sample_gallery

        shown = list(builder.asked(plan, [np.arange(min(wanted, plan.end or wanted))]))
        run.figure("samples.png", sample_gallery([s.sample for s in shown], [s.conversation for s in shown]))
