"""The plan of a running job, kept in an actor that read tasks ask before they read, and that changes the weights."""

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
    """Handle of a running job's plan, for drivers and tasks. Small when pickled; the actor ends with the driver."""

    actor: ActorHandle

    def issue(self, start: int, stop: int) -> MixturePlan:
        """The plan by which to read positions [start, stop). Call before each read, in any order, also on a retry."""
        plan: MixturePlan = ray.get(self.actor.issue.remote(start, stop))
        return plan

    def plan(self) -> MixturePlan:
        """The current plan, with the log of every change so far."""
        plan: MixturePlan = ray.get(self.actor.plan.remote())
        return plan


def start_plan(recipe: Recipe, parts: Sequence[Component], weights: Sequence[float]) -> MixturePlan:
    """The plan that a recipe starts with: weights, schedule and caps.

    Raises:
        ConfigError: weights cannot be drawn, or caps on repetition leave no samples before the last step.
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
    """Sizes of components, given as (name, source), for the plan; a source marked `eval` has no clips to draw."""
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
    """Start the actor that keeps a run's plan, on this node, since it writes to the run's folder; Ray restarts it.

    Args:
        run_dir: the run's folder.
        plan: plan of the checkpoint to continue from, or a new one.
        steps: number of steps of the whole run.
        global_batch: positions per step.
        consumed: first position above all those that the checkpoint consumed.
        admit: raises a UserError for live weights that the run was not set up for.

    Raises:
        CheckpointError: the plan in the run's folder is damaged or contradicts the checkpoint's.
        ConfigError: caps on repetition leave no samples before the last step.
    """
    # The actor's constructor checks this as well, but its errors would reach us only as the death of an actor.
    plan = newer_plan(plan, read_plan(run_dir))
    read_issued(run_dir)
    plan.require_steps(steps, global_batch)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = _KeeperActor.options(scheduling_strategy=here)
    live = LivePlan(actor.remote(run_dir, plan, steps, global_batch, consumed, admit))
    live.plan()
    return live


class _LoggingKeeper(PlanKeeper):
    """The keeper in a process of its own, with logging set up."""

    def __init__(self, *arguments: Any) -> None:
        configure()
        super().__init__(*arguments)


_KeeperActor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_LoggingKeeper)
