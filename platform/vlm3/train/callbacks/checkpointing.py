"""Checkpoints: what the engine needs to go on, and the stream's position, written together."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vlm3.train.callbacks.quarantine_table import Quarantine
from vlm3.train.checkpoint import TrainState, commit
from vlm3.train.engine import Engine
from vlm3.train.loop import LoopState, StepOutcome
from vlm3.train.plan_watch import PlanWatch
from vlm3.train.recipe import Recipe


@dataclass(slots=True)
class Checkpointing:
    """All ranks write their engine files; rank 0 adds the state of the run, which commits the checkpoint."""

    recipe: Recipe
    rank: int
    world_size: int
    engine: Engine
    quarantine: Quarantine
    plan: PlanWatch
    keep: Callable[[int, Path], None]
    """Takes a step and a rank's folder, and stores the files of the folder; all ranks call it."""
    tell: Callable[[str], None]
    """Says what goes on, on rank 0."""

    def after_step(self, outcome: StepOutcome, state: LoopState) -> None:
        """Checkpoint every `checkpoint_every_steps` steps and after the last."""
        train = self.recipe.train
        if outcome.step % train.checkpoint_every_steps and outcome.step != train.steps:
            return
        self.tell("saving a checkpoint")
        with tempfile.TemporaryDirectory(prefix="vlm3-checkpoint-") as name:
            folder = Path(name)
            files = self.engine.save(folder)
            self.quarantine.write()
            if self.rank == 0:
                commit(folder, self._state(state), files)
            self.keep(state.step, folder)

    def _state(self, state: LoopState) -> TrainState:
        return TrainState(
            step=state.step,
            ledger=state.ledger,
            plan=self.plan().to_json(),
            recipe_fingerprint=self.recipe.fingerprint(),
            world_size=self.world_size,
            zero_stage=self.recipe.engine.zero_stage,
            seen=tuple(state.seen.tolist()),
            replaced=tuple(state.replaced.tolist()),
            recipe=self.recipe.identity(),
        )
