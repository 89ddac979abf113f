"""What a training worker is told; apart from the worker, so that who only passes it on does not import torch."""

from dataclasses import dataclass
from pathlib import Path

from vlm3.mixture.plan import MixturePlan
from vlm3.scenes.sharded import ShardedSource
from vlm3.train.recipe import Recipe

STREAM = "stream"
"""Name of the data set that workers read."""
EXPORT_FOLDER = "export"
"""Below the run's folder."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What the driver resolved for every worker of a run; plain and picklable."""

    recipe: Recipe
    run_dir: Path
    model_dir: Path
    tracking_uri: str
    run_id: str
    plan: MixturePlan
    """As the run starts; its changes are in the run's folder."""
    evaluated: tuple[ShardedSource, ...]

    @property
    def component_names(self) -> tuple[str, ...]:
        """Of the mixture, in its order."""
        return tuple(component.name for component in self.plan.components)

    @property
    def trained_tasks(self) -> frozenset[str]:
        """Names of the tasks that have weight at some time; live changes add no other."""
        stop = self.recipe.train.steps * self.recipe.train.global_batch
        return frozenset(name.rpartition("/")[2] for name in self.plan.ever_drawn(stop))
