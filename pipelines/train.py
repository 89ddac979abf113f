"""A training run: resolves sources, plan and model, trains on the stream with Ray Train, and registers the result."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import ray.data

from pipelines.capacity import require_capacity
from pipelines.cluster import connect, starts_its_own
from pipelines.failures import user_error
from pipelines.interrupts import interruptible
from pipelines.progress import progress_bar
from pipelines.run_end import TrainResult, complete, finish, finished, is_trained
from pipelines.run_file import claim, tell_of_cut_images, write_run_file
from pipelines.runs import RunRequest, only_driver
from pipelines.sources import (
    LiveGate,
    components,
    evaluated_sources,
    given_sources,
    require_labels,
    task_names,
    with_rendered,
)
from pipelines.stream import in_order
from pipelines.train_stream import StreamFactory, saved_ledger, step_shape, work
from pipelines.weights import component_sizes, keep_plan, start_plan
from vlm3.config import dump_yaml
from vlm3.log import get_logger
from vlm3.mixture.plan import MixturePlan
from vlm3.models.load import require_model, resolve_model
from vlm3.scenes.sharded import ShardedSource
from vlm3.storage.failures import StorageError
from vlm3.stream.clip_reader import ClipReader
from vlm3.stream.samples import SampleBuilder, keep_encoder
from vlm3.tokens.encode import ConversationEncoder
from vlm3.tokens.vision import VisionSpec
from vlm3.tracking.runs import TrackedRun, prepare_tracking, start_run, tracking_uri
from vlm3.train.checkpoint import read_state
from vlm3.train.progress import forget_progress, read_summary
from vlm3.train.recipe import Recipe
from vlm3.train.resume import discard_incomplete, latest_checkpoint
from vlm3.train.worker_config import EXPORT_FOLDER, STREAM, WorkerConfig

if TYPE_CHECKING:
    import ray.train.torch

log = get_logger(__name__)


def run_training(recipe: Recipe, request: RunRequest) -> TrainResult:
    """Train a recipe to its last step, then evaluate, export and register.

    Uses the connected Ray cluster. If there is none, one is joined or started, after every check that needs no cluster.

    Raises:
        UserError: the recipe, its data or its checkpoint cannot be used as asked.
        ray.train.TrainingFailedError: a worker failed for another reason.
    """
    step_shape(recipe)
    with only_driver(request.runs_dir, request.kind, request.name):
        return _drive(recipe, request)


def _drive(recipe: Recipe, request: RunRequest) -> TrainResult:
    run_dir = (request.runs_dir / request.kind / request.name).resolve()
    log.info("run %s in %s", request.name, run_dir)
    saved_run_id = claim(run_dir, recipe, request)
    done = None if saved_run_id is None else finished(recipe, request, run_dir, saved_run_id)
    if done is not None:
        return done
    if recipe.train.device == "cuda" and starts_its_own():
        from vlm3.train.engine import require_device

        require_device(recipe.train.device)
    require_model(recipe.model)
    store = tracking_uri(recipe.tracking, request.runs_dir)
    given = given_sources(recipe, request.runs_dir)
    connect()
    require_capacity(recipe)
    model_dir = resolve_model(recipe.model, request.runs_dir / "models", recipe.seed)
    vision, encoder = VisionSpec.from_directory(model_dir), ConversationEncoder.from_directory(model_dir)
    # Last, since rendering takes a while: errors in recipe, data, cluster or model are reported before it.
    sources = with_rendered(recipe, given, request.runs_dir)
    parts, weights = components(recipe, sources, vision)
    sizes = component_sizes([(part.name, part.source) for part in parts])
    saved = latest_checkpoint(run_dir)
    # A checkpoint of other data under the same name is refused here.
    plan = start_plan(recipe, parts, weights) if saved is None else MixturePlan.from_json(read_state(saved).plan, sizes)
    drawn = plan.ever_drawn(recipe.train.steps * recipe.train.global_batch)
    evaluated = evaluated_sources(recipe, sources, task_names(drawn))
    require_labels(part for part in parts if part.name in drawn)

    prepare_tracking(recipe.tracking, request.runs_dir)
    if saved_run_id is not None and is_trained(run_dir, recipe, evaluated):
        return complete(recipe, request, run_dir, saved_run_id, evaluated)
    with start_run(
        recipe.tracking, request.runs_dir, request.name, request.kind, request.parent_run_id, saved_run_id
    ) as run:
        run_dir.mkdir(parents=True, exist_ok=True)
        if saved_run_id is not None:
            tell_of_cut_images(run_dir)
        write_run_file(run_dir, run.run_id, recipe)
        builder = SampleBuilder(ClipReader(parts, recipe.stream.read.ahead), keep_encoder(encoder, run_dir))
        _describe(run, recipe, sources, builder, plan, drawn)
        train = recipe.train
        gate = LiveGate(parts, task_names(drawn))
        owner = keep_plan(run_dir, plan, train.steps, train.global_batch, saved_ledger(run_dir).stop, gate)
        worker = WorkerConfig(
            recipe=recipe,
            run_dir=run_dir,
            model_dir=model_dir,
            tracking_uri=store,
            run_id=run.run_id,
            plan=plan,
            evaluated=evaluated,
        )
        metrics = _fit(worker, StreamFactory(builder, owner, run_dir, recipe))
        return finish(recipe, request, run, metrics, run_dir / EXPORT_FOLDER, evaluated)


def _fit(worker: WorkerConfig, factory: StreamFactory) -> dict[str, float]:
    """Train to the end; starts again from the last checkpoint, up to `max_restarts` times, if that may help.

    A restart does not help after a UserError, which the user has to correct; a StorageError is an exception, since the
    store may answer again.
    """
    # Imported here because it takes seconds: a recipe that is refused is reported at once.
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


def _describe(
    run: TrackedRun,
    recipe: Recipe,
    sources: dict[str, ShardedSource],
    builder: SampleBuilder,
    plan: MixturePlan,
    drawn: Sequence[str],
) -> None:
    """Log to the MLflow run what its readers want to see first: recipe, data, and samples as the model gets them."""
    run.params(recipe.plain())
    run.text("recipe.yaml", dump_yaml(recipe.plain()))
    trained = {component.rpartition("/")[0] for component in drawn}
    for name, source in sources.items():
        context = "train" if name in trained else "evaluation"
        run.dataset(name, source.uri, source.fingerprint, context)
    wanted = recipe.train.gallery_samples
    if wanted:
        from vlm3.pictures.drawing import sample_gallery

        shown = list(builder.asked(plan, [np.arange(min(wanted, plan.end or wanted))]))
        run.figure("samples.png", sample_gallery([s.sample for s in shown], [s.conversation for s in shown]))
