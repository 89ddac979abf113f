"""The sources of a recipe, opened: rendered where they are to be, refused where they cannot be trained on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pipelines.cluster import connect
from pipelines.ingest import IngestConfig, ingest
from pipelines.reading import Component
from vlm3.errors import ConfigError, DamagedError, DataError, nearest
from vlm3.log import get_logger
from vlm3.mixture.config import ComponentName, MixtureSource, resolve_weights
from vlm3.scenes.rooms import RoomsReader
from vlm3.scenes.sharded import ShardedSource
from vlm3.storage.split import Split
from vlm3.tasks.correspondence import CorrespondenceTask
from vlm3.tasks.depth import DepthTask
from vlm3.tasks.depth_marker import MarkerDepthTask
from vlm3.tasks.joint import MetricTask, check_focals
from vlm3.tasks.object_questions import AnswerForm
from vlm3.tasks.objects import ObjectsTask
from vlm3.tasks.pose import PoseQuestion, PoseTask
from vlm3.tasks.protocol import AnyTask, Labels
from vlm3.tokens.vision import VisionSpec
from vlm3.train.recipe import Recipe
from vlm3.views.unify import GridPolicy, UnifyPolicy

log = get_logger(__name__)
RENDERED = IngestConfig(clip_frames=8, slots_per_clip=2)
"""Few samples a visit: the batches of a small run mix many rooms, at the price of reading each clip more often."""
LOOKED_AT = 8
"""Clips, spread over a source."""


def source_uri(recipe: Recipe, name: str, runs_dir: Path) -> str:
    """Where a source's shards are: as the recipe says, else data/NAME below the runs folder."""
    return recipe.sources[name].uri or str(runs_dir / "data" / name)


def open_sources(recipe: Recipe, runs_dir: Path, prepare: Callable[[], None] = connect) -> dict[str, ShardedSource]:
    """Every source that is trained on or evaluated, opened; rendered rooms are made first where they are not there yet.

    Args:
        recipe: names the sources.
        runs_dir: rendered sources lie below it.
        prepare: called before anything is rendered and once all is checked that needs no cluster; connects to one.

    Raises:
        ConfigError: an evaluated source is not in the recipe, the primary one is not evaluated, or as `components`.
        DataError: a source is missing, empty or damaged.
    """
    for name in recipe.evaluation.sources:
        if name not in recipe.sources:
            raise ConfigError(f"evaluation.sources: no source {name!r}{nearest(name, recipe.sources)}")
    primary, evaluated = recipe.evaluation.primary, recipe.evaluation.sources or tuple(recipe.sources)
    if primary is not None and primary not in evaluated:
        raise ConfigError(f"evaluation.primary: {primary!r} is not evaluated{nearest(primary, evaluated)}")
    uris = {name: source_uri(recipe, name, runs_dir) for name in recipe.sources}
    opened = {n: ShardedSource.open(uris[n]) for n, source in recipe.sources.items() if source.render is None}
    # What is wrong with the weights is told before anything is rendered.
    _mixture(recipe, {name: _drawn(recipe, name, opened.get(name)) for name in recipe.sources})
    prepare()
    for name, source in recipe.sources.items():
        if source.render is not None:
            # Last, since it takes a while: what is missing is told at once.
            ingest(RoomsReader(source.render, name), uris[name], RENDERED)
            opened[name] = ShardedSource.open(uris[name])
    return {name: opened[name] for name in recipe.sources}


def components(
    recipe: Recipe, sources: dict[str, ShardedSource], vision: VisionSpec
) -> tuple[tuple[Component, ...], tuple[float, ...]]:
    """The components of the mixture and their weights, in the order of the recipe.

    Raises:
        ConfigError: the weights cannot be drawn (all zero, a source marked `eval`, one without training clips).
    """
    tasks = _tasks(recipe)
    mixture = _mixture(recipe, {name: _drawn(recipe, name, source) for name, source in sources.items()})
    built = []
    for (source, name), _ in mixture:
        policy = UnifyPolicy(
            focal_px=tasks[name].focal_px,
            grid=GridPolicy.CROP,
            token_px=vision.token_px,
            min_pixels=vision.min_pixels,
            max_pixels=vision.max_pixels,
        )
        built.append(Component(f"{source}/{name}", sources[source], tasks[name].task, policy))
    return tuple(built), tuple(weight for _, weight in mixture)


def require_labels(parts: Iterable[Component]) -> None:
    """Look for poses in each source that is asked about pairs, and for boxes in each that is asked about objects.

    Most often one clip tells; `LOOKED_AT` are looked at.

    Raises:
        DataError: a source has none of what its questions are about.
        StorageError: the store does not answer.
    """
    for part in parts:
        if part.task.views == 2 and not _has(part.source, "world_T_cam"):
            raise DataError(
                f"mixture: {part.name} asks about pairs of views, but frames of source {part.source.name!r} have no"
                f" camera poses: set mixture.weights {part.name}: 0"
            )
        if part.task.asks_about is Labels.BOXES and not _has(part.source, "boxes"):
            raise DataError(
                f"mixture: {part.name} asks about objects, but frames of source {part.source.name!r} have no boxes:"
                f" set mixture.weights {part.name}: 0"
            )


def _has(source: ShardedSource, column: str) -> bool:
    clips = source.clips(Split.TRAIN)
    for clip in sorted({clips * place // LOOKED_AT for place in range(LOOKED_AT)}) if clips else ():
        try:
            cells = source.read_table(Split.TRAIN, clip, (column,))[column]
        except DamagedError:
            return True  # who knows: the stream quarantines what is damaged
        if cells.null_count < len(cells):
            return True
    return clips == 0


def _drawn(recipe: Recipe, name: str, source: ShardedSource | None) -> MixtureSource:
    """How a source is drawn; one that is still to be rendered is a training source with clips."""
    weight = recipe.sources[name].weight
    if source is None:
        return MixtureSource(weight=weight, role="train", clips=1)
    return MixtureSource(weight=weight, role=source.role, clips=source.clips(Split.TRAIN))


def _mixture(recipe: Recipe, sources: dict[str, MixtureSource]) -> tuple[tuple[ComponentName, float], ...]:
    weights = {name: trained.weight for name, trained in _tasks(recipe).items()}
    return resolve_weights(sources, weights, recipe.mixture)


@dataclass(frozen=True, slots=True)
class _TrainedTask:
    task: AnyTask
    focal_px: float
    weight: float


def _tasks(recipe: Recipe) -> dict[str, _TrainedTask]:
    """What a recipe trains, by the name of the task. Raises ConfigError where their metres do not agree."""
    asked = recipe.tasks
    trained: list[_TrainedTask] = []
    metric: list[MetricTask] = []
    if asked.depth is not None:
        depth = DepthTask(asked.depth.ask)
        trained.append(_TrainedTask(depth, asked.depth.focal_px, asked.depth.weight))
        metric.append(MetricTask(depth.name, asked.depth.focal_px, depth.names_focal))
    if asked.depth_marker is not None:
        marked = MarkerDepthTask(asked.depth_marker.ask)
        trained.append(_TrainedTask(marked, asked.depth_marker.focal_px, asked.depth_marker.weight))
        metric.append(MetricTask(marked.name, asked.depth_marker.focal_px, marked.names_focal))
    if asked.correspondence is not None:
        matching = CorrespondenceTask(asked.correspondence.ask)
        trained.append(_TrainedTask(matching, asked.correspondence.focal_px, asked.correspondence.weight))
    if asked.pose is not None:
        pose = PoseTask(asked.pose.ask)
        trained.append(_TrainedTask(pose, asked.pose.focal_px, asked.pose.weight))
        if PoseQuestion.DISTANCE in asked.pose.ask.questions:
            metric.append(MetricTask(pose.name, asked.pose.focal_px, pose.names_focal))
    if asked.objects is not None:
        objects = ObjectsTask(asked.objects.ask)
        trained.append(_TrainedTask(objects, asked.objects.focal_px, asked.objects.weight))
        if any(question.form is AnswerForm.LENGTH for question in asked.objects.ask.questions):
            metric.append(MetricTask(objects.name, asked.objects.focal_px, names_focal=False))
    drawn = {part.task.name for part in trained if part.weight > 0}
    check_focals([task for task in metric if task.name in drawn])
    return {part.task.name: part for part in trained}


def evaluated_sources(recipe: Recipe, sources: dict[str, ShardedSource]) -> tuple[ShardedSource, ...]:
    """Sources whose held-out split is evaluated; none where depth is not trained: nothing else is asked in the loop.

    Raises:
        ConfigError: sources are named for evaluation, and depth is not trained.
        DataError: a source is named for evaluation but holds nothing out.
    """
    spec = recipe.tasks.spec()
    if spec.depth is None and spec.depth_marker is None:
        if recipe.evaluation.sources or recipe.evaluation.primary:
            raise ConfigError(
                "evaluation: training measures δ1 of depth, which this recipe does not train: leave its sources and"
                " primary out, and use jobs/benchmark.py on the export"
            )
        return ()
    for name in recipe.evaluation.sources:
        if sources[name].clips(Split.EVAL) == 0:
            raise DataError(
                f"evaluation.sources: source {name!r} has no held-out scene: ingest it with --role eval or --set"
                " heldout_share=…"
            )
    names = recipe.evaluation.sources or [n for n, s in sources.items() if s.clips(Split.EVAL) > 0]
    primary = recipe.evaluation.primary
    if primary is not None and primary not in names:
        raise DataError(
            f"evaluation.primary: source {primary!r} has no held-out scene: name another one, or ingest it with --role"
            " eval or --set heldout_share=…"
        )
    return tuple(sources[name] for name in names)
