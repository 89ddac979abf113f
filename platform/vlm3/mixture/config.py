"""What a recipe may say about the mixture: source weights × task weights, or a weight per component."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field

from vlm3.config import StrictModel
from vlm3.errors import ConfigError, nearest

ComponentName = tuple[str, str]
"""(source, task)."""


class MixtureConfig(StrictModel):
    """Weights of single components, in place of the product of source weight and task weight."""

    weights: dict[str, float] = Field(default_factory=dict)
    """By "source/task", relative to the other components; 0 leaves a component out."""


@dataclass(frozen=True, slots=True)
class MixtureSource:
    """What decides whether, and how often, a source is drawn."""

    weight: float
    role: str
    """`train`, or `eval`: never trained on."""
    clips: int
    """Training clips."""


def resolve_weights(
    sources: Mapping[str, MixtureSource], task_weights: Mapping[str, float], config: MixtureConfig | None = None
) -> tuple[tuple[ComponentName, float], ...]:
    """Components and their weights: every source with every task, in the order given.

    Args:
        sources: by name.
        task_weights: by name of the task.
        config: weights of single components that replace source weight × task weight.

    Returns:
        ((source, task), weight) of each component, zero weights included.

    Raises:
        ConfigError: a weight is negative, not finite, or for an unknown source or task; a source marked `eval` or
            without training clips has weight; nothing has weight.
    """
    for name, source in sources.items():
        _check_weight(f"sources.{name}.weight", source.weight)
    for name, weight in task_weights.items():
        _check_weight(f"tasks.{name}.weight", weight)
    weights = {(s, t): source.weight * share for s, source in sources.items() for t, share in task_weights.items()}
    for key, weight in (config.weights if config else {}).items():
        _check_weight(f"mixture.weights.{key}", weight)
        weights[_component(key, sources, task_weights)] = weight
    for (name, task), weight in weights.items():
        if weight > 0:
            _check_drawable(f"{name}/{task}", sources[name])
    if not any(weights.values()):
        raise ConfigError(f"the mixture draws nothing: give one of the sources {', '.join(sources)} a weight above 0")
    return tuple(weights.items())


def _check_weight(where: str, weight: float) -> None:
    if not math.isfinite(weight) or weight < 0:
        raise ConfigError(f"{where}: expected a finite number ≥ 0, found {weight}")


def _component(key: str, sources: Mapping[str, object], tasks: Mapping[str, object]) -> ComponentName:
    """The component named "source/task" (a source's name may hold slashes)."""
    source, separator, task = key.rpartition("/")
    if not separator:
        raise ConfigError(
            f"mixture.weights.{key}: expected source/task, e.g. {next(iter(sources))}/{next(iter(tasks))}"
        )
    if source not in sources:
        raise ConfigError(f"mixture.weights.{key}: unknown source {source!r}{nearest(source, sources)}")
    if task not in tasks:
        raise ConfigError(f"mixture.weights.{key}: unknown task {task!r}{nearest(task, tasks)}")
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
