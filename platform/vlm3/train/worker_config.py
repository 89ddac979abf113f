"""Configuration of a training worker; apart from the worker, so that code that passes it on does not import torch."""

from dataclasses import dataclass
from pathlib import Path

from vlm3.mixture.plan import MixturePlan
from vlm3.scenes.sharded import ShardedSource
from vlm3.train.recipe import Recipe

STREAM = "stream"
"""Name of the Ray dataset that workers read."""
EXPORT_FOLDER = "export"
"""Folder of the exported model, below the run's folder."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What the driver resolves once for every worker of a run; plain and picklable."""

    recipe: Recipe
    run_dir: Path
    model_dir: Path
    tracking_uri: str
    run_id: str
    plan: MixturePlan
    """The plan at the start of the run; its changes are in the run's folder."""
    evaluated: tuple[ShardedSource, ...]

    @property
    def component_names(self) -> tuple[str, ...]:
        """Names of the mixture's components, in its order."""
        return tuple(component.name for component in self.plan.components)

    @property
    def trained_tasks(self) -> frozenset[str]:
        """Names of the tasks that have weight at some step of the run; live changes cannot add another."""
        stop = self.recipe.train.steps * self.recipe.train.global_batch
        return frozenset(name.rpartition("/")[2] for name in self.plan.ever_drawn(stop))
