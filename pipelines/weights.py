"""The plan of a running job, in an actor: what every read task asks before it reads, and where weights change."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vlm3.log import configure
from vlm3.mixture.config import scheduled_weights
from vlm3.mixture.keeper import PlanKeeper, newer_plan, read_issued, read_plan
from vlm3.mixture.plan import ComponentSize, MixturePlan
from vlm3.scenes.sharded import ShardedSource
from vlm3.seeds import derive_seed
from vlm3.storage.split import Split
from vlm3.stream.clip_reader import Component
from vlm3.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class LivePlan:
    """A running job's plan as drivers and tasks reach it. Small when pickled; ends with the driver."""

    actor: ActorHandle

    def issue(self, start: int, stop: int) -> MixturePlan:
        """The plan to read positions [start, stop) by: call it before reading them, in any order, again on a retry."""
        plan: MixturePlan = ray.get(self.actor.issue.remote(start, stop))
        return plan

    def plan(self) -> MixturePlan:
        """The plan as it stands, with the log of every change so far: for checkpoints and tracking."""
        plan: MixturePlan = ray.get(self.actor.plan.remote())
        return plan


def start_plan(recipe: Recipe, parts: Sequence[Component], weights: Sequence[float]) -> MixturePlan:
    """The plan that a recipe starts with: weights, schedule and caps.

    Raises:
        ConfigError: weights that cannot be drawn, or caps that let the mixture run dry before the last step.
    """
    names = [part.name for part in parts]
    mixture, train = recipe.mixture, recipe.train
    plan = MixturePlan.start(
        component_sizes([(part.name, part.source) for part in parts]),
        weights,
        derive_seed(recipe.seed, "plan"),
        recipe.stream.period,
        scheduled_weights(mixture, names, train.global_batch),
        [mixture.max_epochs.get(name) for name in names],
    )
    plan.require_steps(train.steps, train.global_batch)
    return plan


def component_sizes(parts: Sequence[tuple[str, ShardedSource]]) -> tuple[ComponentSize, ...]:
    """What the plan knows of components (name, source): of a source marked `eval` it has nothing to draw."""
    return tuple(
        ComponentSize(name, 0 if source.role == "eval" else source.clips(Split.TRAIN), source.slots, source.fingerprint)
        for name, source in parts
    )


def keep_plan(
    run_dir: Path,
    plan: MixturePlan,
    steps: int,
    global_batch: int,
    consumed: int = 0,
    admit: Callable[[Mapping[str, float]], None] | None = None,
) -> LivePlan:
    """Start the keeper of a run's plan on this node, which sees the run's folder; it is restarted when it dies.

    Args:
        run_dir: the run's folder.
        plan: of the checkpoint to continue from, or a new one.
        steps: of the whole run.
        global_batch: positions a step.
        consumed: first position above all that the checkpoint consumed.
        admit: raises a UserError for live weights that the run was not set up for.

    Raises:
        CheckpointError: the plan in the run's folder is damaged or contradicts the checkpoint's.
        ConfigError: the mixture runs dry before the last step.
    """
    # Here as well as in the actor: an error of its constructor would reach us as the death of an actor.
    plan = newer_plan(plan, read_plan(run_dir))
    read_issued(run_dir)
    plan.require_steps(steps, global_batch)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = _KeeperActor.options(scheduling_strategy=here)
    live = LivePlan(actor.remote(run_dir, plan, steps, global_batch, consumed, admit))
    live.plan()
    return live


class _LoggingKeeper(PlanKeeper):
    """The keeper in a process of its own."""

    def __init__(self, *arguments: Any) -> None:
        configure()
        super().__init__(*arguments)


_KeeperActor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_LoggingKeeper)
