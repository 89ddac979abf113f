"""One training worker under Ray Train: builds model and engine, restores, trains, evaluates, checkpoints, exports."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import ray.train
import torch
import torch.distributed as dist

from vlm3.asking.calibration import calibration_file
from vlm3.asking.predictor import Predictor
from vlm3.asking.spec import FILE as SPEC_FILE
from vlm3.infer.local_model import LocalModel
from vlm3.log import configure, get_logger
from vlm3.models.export import export_model
from vlm3.models.load import load_model
from vlm3.scenes.schema import Frame
from vlm3.stream.dealing import StepShape
from vlm3.stream.parcels import RowParcel
from vlm3.stream.quarantine import QuarantineLimit
from vlm3.stream.step_input import StepInput, step_inputs
from vlm3.tasks.spec_file import spec_json
from vlm3.tokens.encode import ConversationEncoder
from vlm3.tokens.vision import VisionSpec
from vlm3.tracking.runs import TrackedRun, attach_run
from vlm3.train.calibrate import calibrate
from vlm3.train.callbacks.checkpointing import Checkpointing
from vlm3.train.callbacks.evaluation import Evaluation
from vlm3.train.callbacks.quarantine_table import Quarantine
from vlm3.train.callbacks.step_metrics import StepMetrics
from vlm3.train.checkpoint import read_state, require_recipe
from vlm3.train.engine import Engine, require_device
from vlm3.train.evaluate import held_out_frames, image_id
from vlm3.train.gauges import StepGauges
from vlm3.train.loop import Callback, LoopState, run_steps
from vlm3.train.plan_watch import PlanWatch
from vlm3.train.progress import tell_activity, write_summary
from vlm3.train.resume import checkpoint_name, latest_checkpoint
from vlm3.train.worker_config import EXPORT_FOLDER, STREAM, WorkerConfig

log = get_logger(__name__)
PREFETCHED_STEPS = 2
PICTURED_FRAMES = 4
"""Of each source, at each evaluation."""


def train_worker(config: dict[str, WorkerConfig]) -> None:
    """The function Ray Train runs on every worker; `config["worker"]` holds everything."""
    configure()
    worker = config["worker"]
    recipe = worker.recipe
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    device = require_device(recipe.train.device)
    if device.type == "cpu":
        torch.set_num_threads(recipe.train.threads_per_worker)
    torch.manual_seed(recipe.seed)

    model = load_model(worker.model_dir, recipe.model)
    engine = Engine(model, recipe.engine, recipe.optimizer, recipe.train.steps, device)
    state = _restore(worker, engine)
    run = attach_run(worker.tracking_uri, worker.run_id) if rank == 0 else None
    vision = VisionSpec.from_directory(worker.model_dir)
    encoder = ConversationEncoder.from_directory(worker.model_dir)
    ask = recipe.tasks.spec(worker.trained_tasks)

    @contextmanager
    def predictor() -> Iterator[Predictor]:
        with engine.evaluation() as module:
            yield Predictor(LocalModel(module, encoder, vision), ask)

    def tell(activity: str) -> None:
        if rank == 0:
            tell_activity(worker.run_dir, activity)

    plan = PlanWatch(worker.run_dir, worker.plan)
    quarantine = Quarantine(
        QuarantineLimit(recipe.stream.max_bad_per_1000), worker.component_names, worker.run_dir, run
    )
    quarantine.restore(state.ledger)
    metrics = _step_metrics(worker, run, plan) if run is not None else None
    mine, pictured = _held_out(worker, rank, world)
    evaluation = Evaluation(
        predictor=predictor,
        frames=mine,
        pictured=pictured,
        points=recipe.evaluation.points,
        seed=recipe.seed,
        every_steps=recipe.evaluation.every_steps,
        total_steps=recipe.train.steps,
        run=run,
        tell=tell,
    )

    def keep(step: int, folder: Path) -> None:
        ray.train.report(
            {"step": step, **evaluation.latest},
            checkpoint=ray.train.Checkpoint.from_directory(folder),
            checkpoint_dir_name=checkpoint_name(step),
        )

    checkpoints = Checkpointing(recipe, rank, world, engine, quarantine, plan, keep, tell)
    callbacks: list[Callback] = [*([metrics] if metrics is not None else []), quarantine, evaluation, checkpoints]
    shape = StepShape(recipe.train.global_batch, world, recipe.engine.micro_batch)
    inputs = _step_inputs(shape, vision)
    run_steps(engine, inputs, state, recipe.train.steps, callbacks)

    scores = evaluation.conclude(state.step)
    tell("exporting")
    calibration = calibrate(predictor, mine, recipe.seed)
    weights = engine.full_state_dict()
    summary = dict(scores)
    if metrics is not None:
        assert weights is not None
        beside = {SPEC_FILE: spec_json(ask), **calibration_file(calibration)}
        export_model(engine.module, weights, worker.model_dir, worker.run_dir / EXPORT_FOLDER, beside)
        summary |= metrics.summary(state)
        metrics.run.metrics({f"summary/{name}": value for name, value in summary.items()}, recipe.train.steps)
        write_summary(worker.run_dir, summary)
    _barrier()


def _restore(worker: WorkerConfig, engine: Engine) -> LoopState:
    """State of the last complete checkpoint of this run, or a fresh one."""
    folder = latest_checkpoint(worker.run_dir)
    if folder is None:
        return LoopState.fresh(len(worker.component_names))
    saved = read_state(folder)
    require_recipe(folder, saved, worker.recipe.fingerprint(), worker.recipe.identity())
    engine.load(folder)
    log.info("continuing from %s at step %d, stream position %d", folder.name, saved.step, saved.ledger.watermark)
    return LoopState(saved.step, saved.ledger, np.array(saved.seen, np.int64), np.array(saved.replaced, np.int64))


def _step_metrics(worker: WorkerConfig, run: TrackedRun, plan: PlanWatch) -> StepMetrics:
    train = worker.recipe.train
    return StepMetrics(
        run=run,
        run_dir=worker.run_dir,
        total_steps=train.steps,
        global_batch=train.global_batch,
        component_names=worker.component_names,
        plan=plan,
        publish=StepGauges(worker.run_dir.name),
    )


def _held_out(worker: WorkerConfig, rank: int, world: int) -> tuple[dict[str, list[Frame]], dict[str, list[Frame]]]:
    """By source: this rank's share of the held-out frames, and those that rank 0 pictures.

    Read once: they are asked about again and again.
    """
    mine: dict[str, list[Frame]] = {}
    pictured: dict[str, list[Frame]] = {}
    for source in worker.evaluated:
        frames = list(held_out_frames(source, worker.recipe.evaluation.images))
        mine[source.name] = frames[rank::world]
        pictured[source.name] = sorted(frames, key=image_id)[:PICTURED_FRAMES] if rank == 0 else []
    return mine, pictured


def _step_inputs(shape: StepShape, vision: VisionSpec) -> Iterator[StepInput]:
    shard = ray.train.get_dataset_shard(STREAM)
    ahead = PREFETCHED_STEPS * shape.parcels
    # No batch size: blocks are handed out as they lie in the object store.
    blocks = shard.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=ahead)
    return step_inputs(map(RowParcel.from_block, blocks), shape, vision)


def _barrier() -> None:
    """Wait for rank 0's export: a run is finished only when its export is whole."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.barrier()
