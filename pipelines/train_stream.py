"""What a run hands to Ray Train: its stream and its workers' function. Light, since Ray's own actors import it."""

from dataclasses import dataclass
from pathlib import Path

import ray.data

from pipelines.stream import PlanOwner, training_stream
from vlm3.mixture.ledger import Ledger
from vlm3.stream.dealing import Dealing, StepShape
from vlm3.stream.samples import SampleBuilder
from vlm3.train.checkpoint import read_state
from vlm3.train.recipe import Recipe
from vlm3.train.resume import latest_checkpoint
from vlm3.train.worker_config import WorkerConfig


@dataclass(frozen=True)
class StreamFactory:
    """Makes a new stream at every start of the worker group, from the ledger of the last complete checkpoint."""

    builder: SampleBuilder
    owner: PlanOwner
    run_dir: Path
    recipe: Recipe

    def __call__(self) -> ray.data.Dataset:
        """The stream of all positions that are not consumed yet."""
        train = self.recipe.train
        remaining = saved_ledger(self.run_dir).remaining(train.steps * train.global_batch)
        dealing = Dealing(remaining, step_shape(self.recipe))
        return training_stream(self.builder, dealing, self.owner, self.recipe.stream)


def work(config: dict[str, WorkerConfig]) -> None:
    """The function that every worker runs. Imports inside: Ray's controller passes it on and needs none of them."""
    from vlm3.train.worker import train_worker

    train_worker(config)


def step_shape(recipe: Recipe) -> StepShape:
    """How each step of the recipe is shared among its workers. Raises ConfigError if it cannot be."""
    return StepShape(recipe.train.global_batch, recipe.train.workers, recipe.engine.micro_batch)


def saved_ledger(run_dir: Path) -> Ledger:
    """Positions consumed at the last complete checkpoint of a run; none without a checkpoint."""
    folder = latest_checkpoint(run_dir)
    return Ledger.empty() if folder is None else read_state(folder).ledger
