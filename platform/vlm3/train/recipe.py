"""The recipe: everything that decides what a run learns, in one YAML file."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, cast

from pydantic import Field, create_model, model_validator

from vlm3.asking.spec import Asked, AskSpec
from vlm3.config import StrictModel, apply_overrides, load_yaml
from vlm3.errors import ConfigError
from vlm3.mixture.config import MixtureConfig
from vlm3.models.load import ModelConfig
from vlm3.sources.rooms.reader import RoomsConfig
from vlm3.storage.manifest import Role
from vlm3.stream.config import StreamConfig
from vlm3.tasks import TASKS
from vlm3.tasks.spec_file import parse_spec
from vlm3.tasks.template_sets import check_templates
from vlm3.tracking.config import TrackingConfig
from vlm3.train.engine_config import EngineConfig
from vlm3.train.optimizer import OptimizerConfig

Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0)]
"""Share of the stream, relative to the others."""


class SourceConfig(StrictModel):
    """One source: ingested already, or rendered when the run starts."""

    uri: str | None = None
    """Folder or s3:// prefix of its manifest; default: data/NAME below the runs folder."""
    weight: Annotated[float, Field(ge=0)] = 0.0
    """Share of the stream, relative to the other sources."""
    render: RoomsConfig | None = None
    """Rooms to render and ingest at `uri` when the run starts, unless they are there already."""
    role: Role = "train"
    """Role of rendered rooms: `eval` holds all of them out. Other sources have the role they were ingested with."""

    @model_validator(mode="after")
    def _role_of_rendered(self) -> Self:
        if self.role == "eval" and self.render is None:
            raise ValueError("role: only for rendered rooms; ingest the source with --role eval")
        return self


class TasksConfig(StrictModel):
    """A key for each task: its settings and weight if it may be trained, null if not."""

    def parts(self) -> dict[str, Asked]:
        """Settings of each task that may be trained, by name."""
        return {room.asked.task: part for room in TASKS if (part := getattr(self, room.asked.task)) is not None}

    def weights(self) -> dict[str, float]:
        """Weights of these tasks, by name."""
        return {name: cast(Weighted, part).weight for name, part in self.parts().items()}

    def spec(self, trained: Collection[str]) -> AskSpec:
        """How to ask a model that was trained on the tasks with these names."""
        asked = {name: part for name, part in self.parts().items() if name in trained}
        plain = {name: part.model_dump(mode="json", exclude={"weight"}) for name, part in asked.items()}
        return parse_spec(plain, "tasks")

    @model_validator(mode="after")
    def _template_sets(self) -> Self:
        for part in self.parts().values():
            check_templates(part.ask.templates)
        return self


class Weighted(StrictModel):
    """Base of a task's settings in a recipe: its weight."""

    weight: Weight = 1.0
    """Share of the stream, relative to the other tasks."""


def _tasks_of_recipes() -> type[TasksConfig]:
    """Make the model with a key for each task. Its classes are names of this module, so that recipes can be pickled."""
    fields: dict[str, Any] = {}
    for room in TASKS:
        name, bases = f"{room.asked.__name__}InRecipe", (room.asked, Weighted)
        part = create_model(name, __base__=bases, __module__=__name__, __doc__=room.asked.__doc__)
        globals()[name] = part
        fields[room.asked.task] = (part | None, part() if room.trained_by_default else None)
    return create_model("RecipeTasks", __base__=TasksConfig, __module__=__name__, **fields)


if TYPE_CHECKING:
    RecipeTasks = TasksConfig
else:
    RecipeTasks = _tasks_of_recipes()


class EvaluationConfig(StrictModel):
    """Evaluation during training: δ1 on held-out scenes."""

    sources: tuple[str, ...] = ()
    """Sources whose held-out split is evaluated; default: every source that has one and whose depth is in metres."""
    every_steps: Count = 100
    images: Count = 64
    """Images per source, spread evenly over the split."""
    points: Count = 5
    """Points asked about per image."""
    primary: str | None = None
    """Source whose δ1 decides about the champion; default: the first one evaluated."""


class TrainConfig(StrictModel):
    """Length, size and place of a run."""

    steps: Count
    global_batch: Count
    """Samples (stream positions) per optimizer step, over all workers."""
    workers: Count = 1
    cpus_per_worker: Annotated[float, Field(gt=0)] = 1.0
    threads_per_worker: Count = 1
    """Torch threads of a worker on CPU."""
    device: Annotated[str, Field(pattern="^(cpu|cuda)$")] = "cpu"
    checkpoint_every_steps: Count = 100
    keep_checkpoints: Count = 2
    max_restarts: Annotated[int, Field(ge=0)] = 1
    """How often training may start again from the last checkpoint after a failure."""
    wait_for_nodes_s: Annotated[int, Field(ge=0)] = 1800
    """How long to wait for nodes that the autoscaler of a Ray cluster starts; 0: use only those that are there."""
    gallery_samples: Annotated[int, Field(ge=0, le=64)] = 9
    """Number of training samples shown as pictures in MLflow."""


class Recipe(StrictModel):
    """The recipe of a whole run. An unknown key is an error that names the nearest valid one."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    seed: Annotated[int, Field(ge=0)] = 0
    sources: dict[str, SourceConfig]
    tasks: RecipeTasks = RecipeTasks()
    mixture: MixtureConfig = MixtureConfig()
    """Weights of single components (instead of source weight × task weight), their schedule, and caps on repetition."""
    model: ModelConfig
    stream: StreamConfig = StreamConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    engine: EngineConfig = EngineConfig()
    train: TrainConfig
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig = TrackingConfig()

    def plain(self) -> dict[str, Any]:
        """The resolved recipe as plain data, defaults included."""
        data: dict[str, Any] = self.model_dump(mode="json")
        return data

    def identity(self) -> dict[str, Any]:
        """What is learned, as plain data: a checkpoint may be continued only if this is the same.

        Keys that may differ between a run and its continuation are left out: name and evaluation, where data and
        tracking are stored, how often to checkpoint, and how workers share the work.
        """
        data = self.plain()
        for key in ("tracking", "evaluation", "name"):
            data.pop(key)
        kept = ("steps", "global_batch")
        data["train"] = {key: data["train"][key] for key in kept}
        data["stream"] = {"period": data["stream"]["period"]}
        for key in ("micro_batch", "offload"):
            data["engine"].pop(key)
        for source in data["sources"].values():
            source.pop("uri")
            # A source that is held out has no weight, and nothing is learned from it.
            source.pop("role")
        return data

    def fingerprint(self) -> str:
        """Hash of `identity`."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()[:16]


def load_recipe(path: Path, overrides: Sequence[str] = (), overlays: Sequence[Path] = ()) -> Recipe:
    """Read a recipe, merge overlays onto it (YAML of the same shape), then apply `key=value` overrides.

    Raises:
        ConfigError: a key or value is wrong; the message names file, key, what was expected and the nearest valid key.
    """
    data = load_yaml(path)
    where = str(path)
    for overlay in overlays:
        data = merge(data, load_yaml(overlay))
        where += f" with {overlay}"
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected a mapping at the top of the recipe, found {type(data).__name__}")
    return Recipe.parse(apply_overrides(data, overrides), where)


def merge(base: Any, overlay: Any) -> Any:
    """Put `overlay` onto `base`: mappings are merged key by key, anything else replaces the value in `base`."""
    if not (isinstance(base, Mapping) and isinstance(overlay, Mapping)):
        return overlay
    return {**base, **{key: merge(base.get(key), value) for key, value in overlay.items()}}
