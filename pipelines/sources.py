"""Opens the sources of a recipe: renders those that need it, refuses those that cannot be trained on or evaluated."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.cluster import connect
from pipelines.ingest import IngestConfig, ingest, ingest_key
from vlm3.asking.focals import check_focals
from vlm3.asking.protocol import Labels
from vlm3.errors import ConfigError, DamagedError, DataError, nearest
from vlm3.evaluation.answering import answering_rooms
from vlm3.log import get_logger
from vlm3.mixture.config import ComponentName, MixtureSource, ever_drawn, resolve_weights
from vlm3.scenes.schema import Scale
from vlm3.scenes.sharded import ShardedSource
from vlm3.sources.rooms.reader import RoomsReader
from vlm3.storage.manifest import MANIFEST, read_manifest
from vlm3.storage.split import Split
from vlm3.storage.store import open_store
from vlm3.stream.clip_reader import Component
from vlm3.tasks import IN_LOOP
from vlm3.tokens.vision import VisionSpec
from vlm3.train.recipe import Recipe, SourceConfig
from vlm3.views.unify import UnifyPolicy

log = get_logger(__name__)
RENDERED = IngestConfig(clip_frames=8, slots_per_clip=2)
"""How rendered sources are ingested. Few slots a clip: the batches of a small run mix many rooms, but each clip is read
more often."""
LOOKED_AT = 8
"""Number of clips, spread over a source, in which labels are looked for."""


def source_uri(recipe: Recipe, name: str, runs_dir: Path) -> str:
    """Folder or s3:// prefix of a source's shards: from the recipe, else data/NAME below the runs folder.

    If other rooms of the same name lie there, rendered ones have a folder of their own, data/NAME-HASH.
    """
    source, folder = recipe.sources[name], runs_dir / "data" / name
    if source.uri is not None or source.render is None:
        return source.uri or str(folder)
    key = ingest_key(RoomsReader(source.render, name), _rendered(source))
    store = open_store(str(folder))
    free = not store.exists(MANIFEST) or read_manifest(store).info.ingest_key == key
    return str(folder if free else folder.with_name(f"{name}-{key[:8]}"))


def open_sources(recipe: Recipe, runs_dir: Path) -> dict[str, ShardedSource]:
    """Open every source of a recipe; joins or starts a Ray cluster once they are checked.

    Raises:
        ConfigError, DataError: as in `given_sources`; DataError also if a rendered source is damaged.
    """
    given = given_sources(recipe, runs_dir)
    connect()
    return with_rendered(recipe, given, runs_dir)


def given_sources(recipe: Recipe, runs_dir: Path) -> dict[str, ShardedSource]:
    """Open the sources that are not rendered; no cluster is needed.

    Args:
        recipe: names the sources.
        runs_dir: rendered sources lie below it.

    Raises:
        ConfigError: an evaluated source is not in the recipe, the primary one is not evaluated, or for the reasons of
            `components`.
        DataError: a source is missing, empty or damaged.
    """
    for name in recipe.evaluation.sources:
        if name not in recipe.sources:
            raise ConfigError(f"evaluation.sources: no source {name!r}{nearest(name, recipe.sources)}")
    primary, evaluated = recipe.evaluation.primary, recipe.evaluation.sources or tuple(recipe.sources)
    if primary is not None and primary not in evaluated:
        raise ConfigError(f"evaluation.primary: {primary!r} is not evaluated{nearest(primary, evaluated)}")
    given = [name for name, source in recipe.sources.items() if source.render is None]
    opened = {name: ShardedSource.open(source_uri(recipe, name, runs_dir)) for name in given}
    # Wrong weights are reported before anything is rendered.
    _mixture(recipe, {name: _drawn(recipe, name, opened.get(name)) for name in recipe.sources})
    return opened


def with_rendered(recipe: Recipe, given: dict[str, ShardedSource], runs_dir: Path) -> dict[str, ShardedSource]:
    """All sources of a recipe, in its order; rooms that are not there yet are rendered on the connected cluster.

    Rendering takes a while: call this after all checks.

    Raises:
        DataError: a rendered source is damaged.
    """
    found = dict(given)
    for name, source in recipe.sources.items():
        if source.render is not None:
            uri = source_uri(recipe, name, runs_dir)
            ingest(RoomsReader(source.render, name), uri, _rendered(source))
            found[name] = ShardedSource.open(uri)
    return {name: found[name] for name in recipe.sources}


def _rendered(source: SourceConfig) -> IngestConfig:
    return RENDERED.model_copy(update={"role": source.role})


def components(
    recipe: Recipe, sources: dict[str, ShardedSource], vision: VisionSpec
) -> tuple[tuple[Component, ...], tuple[float, ...]]:
    """The components of the mixture and their weights, in the order of the recipe.

    Raises:
        ConfigError: the weights cannot be drawn (all are zero, a source with weight is marked `eval` or has no training
            clips), or tasks trained together have different focal lengths and do not all name them in their questions.
    """
    tasks = recipe.tasks.parts()
    mixture = _mixture(recipe, {name: _drawn(recipe, name, source) for name, source in sources.items()})
    built = []
    for (source, name), _ in mixture:
        policy = UnifyPolicy(
            focal_px=tasks[name].focal_px,
            token_px=vision.token_px,
            min_pixels=vision.min_pixels,
            max_pixels=vision.max_pixels,
        )
        built.append(Component(f"{source}/{name}", sources[source], tasks[name].build(), policy))
    return tuple(built), tuple(weight for _, weight in mixture)


def task_names(names: Iterable[str]) -> frozenset[str]:
    """Names of the tasks in component names "source/task"."""
    return frozenset(name.rpartition("/")[2] for name in names)


@dataclass(frozen=True, slots=True)
class LiveGate:
    """Check of new weights in a running job: only components that it was set up for may have weight."""

    parts: tuple[Component, ...]
    tasks: frozenset[str]
    """Names of the run's tasks; its export, evaluation and focal lengths were settled for these when it started."""

    def __call__(self, weights: Mapping[str, float]) -> None:
        """Refuse weights that the run was not set up for.

        Raises:
            ConfigError: a component with weight is of another task.
            DataError: the source of a component with weight lacks the labels that its questions are about.
        """
        for part in self.parts:
            if not weights.get(part.name):
                continue
            if part.task.name not in self.tasks:
                raise ConfigError(
                    f"{part.name}: this run was set up without the task {part.task.name}, so its model could not be"
                    " asked about it; start a run whose recipe gives it weight, at the start or in mixture.schedule"
                )
            require_labels([part])


def require_labels(parts: Iterable[Component]) -> None:
    """Check that sources asked about pairs of views have poses, and that those asked about objects have boxes.

    One clip with such labels is enough; up to `LOOKED_AT` clips are read to find it.

    Raises:
        DataError: a source lacks the labels that its questions are about.
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
            return True  # unknown; the stream quarantines what is damaged
        if cells.null_count < len(cells):
            return True
    return clips == 0


def _drawn(recipe: Recipe, name: str, source: ShardedSource | None) -> MixtureSource:
    """What the mixture needs to know of a source; one not rendered yet counts as a training source with clips."""
    weight, role = recipe.sources[name].weight, recipe.sources[name].role
    if source is None:
        return MixtureSource(weight=weight, role=role, clips=1 if role == "train" else 0)
    return MixtureSource(weight=weight, role=source.role, clips=source.clips(Split.TRAIN))


def _mixture(recipe: Recipe, sources: dict[str, MixtureSource]) -> tuple[tuple[ComponentName, float], ...]:
    """Components and their weights at the start. Raises ConfigError, also if the metres of trained tasks disagree."""
    resolved = resolve_weights(sources, recipe.tasks.weights(), recipe.mixture)
    trained = {task for _, task in ever_drawn(resolved, recipe.mixture, recipe.train.steps)}
    metric = [part.metres() for name, part in recipe.tasks.parts().items() if name in trained]
    check_focals([task for task in metric if task is not None])
    return resolved


def evaluated_sources(
    recipe: Recipe, sources: dict[str, ShardedSource], trained: Collection[str]
) -> tuple[ShardedSource, ...]:
    """Sources whose held-out split is evaluated; none if no trained task gives the answers that training evaluates.

    Args:
        recipe: may name sources for evaluation; default: all sources with held-out scenes and depth in metres.
        sources: all sources of the recipe.
        trained: names of the tasks that the run trains.

    Raises:
        ConfigError: sources are named for evaluation, or a primary one, and no trained task gives such answers.
        DataError: a source named for evaluation or as primary has no held-out scene, or its depth is not in metres.
    """
    task, headline = IN_LOOP.table.task, IN_LOOP.table.headlines[0].heading
    if task not in answering_rooms(recipe.tasks.spec(trained)):
        if recipe.evaluation.sources or recipe.evaluation.primary:
            raise ConfigError(
                f"evaluation: training measures {headline} of {task}, which this recipe does not train: leave its"
                " sources and primary out, and use jobs/benchmark.py on the export"
            )
        return ()
    for name in recipe.evaluation.sources:
        if sources[name].clips(Split.EVAL) == 0:
            raise DataError(
                f"evaluation.sources: source {name!r} has no held-out scene: ingest it with --role eval or --set"
                " heldout_share=…"
            )
        if sources[name].scale != Scale.METRIC:
            raise DataError(
                f"evaluation.sources: depth of source {name!r} is {sources[name].scale}, not in metres: δ1 of a"
                " model that answers in metres says nothing there; leave it out"
            )
    names = recipe.evaluation.sources or [
        name for name, s in sources.items() if s.clips(Split.EVAL) > 0 and s.scale == Scale.METRIC
    ]
    primary = recipe.evaluation.primary
    if primary is not None and primary not in names:
        raise DataError(
            f"evaluation.primary: source {primary!r} has no held-out scene in metres: name another one, or ingest it"
            " with --role eval or --set heldout_share=…"
        )
    return tuple(sources[name] for name in names)
