"""Settings of the mixture in a recipe: weights of components, when they change, and how often data may repeat."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from vlm3.config import StrictModel
from vlm3.errors import ConfigError, nearest
from vlm3.mixture.components import ever_weighted

ComponentName = tuple[str, str]
"""(source, task)."""


class ScheduledWeights(StrictModel):
    """Weights that change at a step."""

    at_step: Annotated[int, Field(ge=1)]
    """Number of steps before the change."""
    weights: Annotated[dict[str, float], Field(min_length=1)]
    """Weights by "source/task"; components that are not named keep their weight."""


class MixtureConfig(StrictModel):
    """Weights of single components, which replace the product of source weight and task weight."""

    weights: dict[str, float] = Field(default_factory=dict)
    """Weights by "source/task", relative to the other components; 0 leaves a component out."""
    schedule: tuple[ScheduledWeights, ...] = ()
    """Planned changes of the weights, by ascending step."""
    max_epochs: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    """Most passes over the data, by "source/task"; after them the weight is 0 and the others share its part.

    The limit is per component, not per source: each task goes through a source in its own order and at its own pace,
    and repeating a depth question does not repeat a pose question.
    """

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        for before, after in pairwise(self.schedule):
            if after.at_step <= before.at_step:
                raise ValueError(
                    f"schedule: at_step {after.at_step} follows {before.at_step}; expected ascending steps, each once"
                )
        return self


@dataclass(frozen=True, slots=True)
class MixtureSource:
    """What decides whether, and how often, a source is drawn."""

    weight: float
    role: str
    """`train`, or `eval` for a source that is never trained on."""
    clips: int
    """Number of training clips."""


def resolve_weights(
    sources: Mapping[str, MixtureSource], task_weights: Mapping[str, float], config: MixtureConfig | None = None
) -> tuple[tuple[ComponentName, float], ...]:
    """Components and their weights: every source with every task, in the order given.

    Args:
        sources: sources by name.
        task_weights: weights by name of the task.
        config: weights of single components that replace source weight × task weight; the schedule and the caps are
            checked as well.

    Returns:
        ((source, task), weight) of each component at the start, zero weights included.

    Raises:
        ConfigError: at the start or in the schedule a weight is negative, not finite, or for an unknown source or task,
            or a source marked `eval` or without training clips has weight; a cap names an unknown source or task; or
            nothing has weight.
    """
    config = config or MixtureConfig()
    for name, source in sources.items():
        _check_weight(f"sources.{name}.weight", source.weight)
    for name, weight in task_weights.items():
        _check_weight(f"tasks.{name}.weight", weight)
    weights = {(s, t): source.weight * share for s, source in sources.items() for t, share in task_weights.items()}
    for key, weight in config.weights.items():
        weights[_component("mixture.weights", key, sources, task_weights)] = weight
        _check_weight(f"mixture.weights.{key}", weight)
    for index, entry in enumerate(config.schedule):
        where = f"mixture.schedule.{index}.weights"
        for key, weight in entry.weights.items():
            owner, _ = _component(where, key, sources, task_weights)
            _check_weight(f"{where}.{key}", weight)
            if weight > 0:
                _check_drawable(key, sources[owner])
    for key in config.max_epochs:
        _component("mixture.max_epochs", key, sources, task_weights)
    for (name, task), weight in weights.items():
        if weight > 0:
            _check_drawable(f"{name}/{task}", sources[name])
    if not any(weights.values()):
        raise ConfigError(f"the mixture draws nothing: give one of the sources {', '.join(sources)} a weight above 0")
    return tuple(weights.items())


def ever_drawn(
    resolved: Sequence[tuple[ComponentName, float]], config: MixtureConfig, steps: int
) -> tuple[ComponentName, ...]:
    """The components that have weight at the start or get it by the schedule, within a run of `steps` steps.

    Args:
        resolved: result of `resolve_weights`.
        config: settings with the schedule.
        steps: steps of the run; a change after all of them has no effect.
    """
    names = ["/".join(name) for name, _ in resolved]
    schedule = [weights for at_step, weights in scheduled_weights(config, names, 1) if at_step < steps]
    drawn = set(ever_weighted(names, [[weight for _, weight in resolved], *schedule]))
    return tuple(name for name, _ in resolved if "/".join(name) in drawn)


def scheduled_weights(
    config: MixtureConfig, names: Sequence[str], global_batch: int
) -> tuple[tuple[int, tuple[float | None, ...]], ...]:
    """The schedule as a plan takes it: (position, weights in the order of `names`, None to keep a weight)."""
    return tuple(
        (entry.at_step * global_batch, tuple(entry.weights.get(name) for name in names)) for entry in config.schedule
    )


def _check_weight(where: str, weight: float) -> None:
    if not math.isfinite(weight) or weight < 0:
        raise ConfigError(f"{where}: expected a finite number ≥ 0, found {weight}")


def _component(where: str, key: str, sources: Mapping[str, object], tasks: Mapping[str, object]) -> ComponentName:
    """The component named "source/task" (a source's name may hold slashes)."""
    source, separator, task = key.rpartition("/")
    if not separator:
        raise ConfigError(f"{where}.{key}: expected source/task, e.g. {next(iter(sources))}/{next(iter(tasks))}")
    if source not in sources:
        raise ConfigError(f"{where}.{key}: unknown source {source!r}{nearest(source, sources)}")
    if task not in tasks:
        raise ConfigError(f"{where}.{key}: unknown task {task!r}{nearest(task, tasks)}")
    return source, task


def _check_drawable(component: str, source: MixtureSource) -> None:
    if source.role == "eval":
        raise ConfigError(
            f"component {component!r} has weight, but its source is marked eval and must not be trained on: "
            "set its weight to 0, or ingest it with role train"
        )
    if source.clips == 0:
        raise ConfigError(
            f"component {component!r} has weight, but its source has no training clips: set its weight to 0, or "
            "ingest it with a smaller held-out share"
        )
