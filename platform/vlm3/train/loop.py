"""The training loop: runs exactly the given number of steps and records every consumed position."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Protocol, Self

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from vlm3.errors import DataError
from vlm3.mixture.ledger import Ledger
from vlm3.stream.parcels import Cost
from vlm3.stream.quarantine import Fault
from vlm3.stream.step_input import StepInput
from vlm3.tokens.batch import ModelBatch
from vlm3.train.engine import Engine, StepStats


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What happened in one step, over all ranks."""

    step: int
    """Number of steps done, this one included."""
    stats: StepStats
    received: NDArray[np.int64]
    """(G, 3) position, component and attempt of every sample, sorted by position."""
    faults: tuple[Fault, ...]
    """Bad samples that these samples replace."""
    cost: Cost
    """Cost of reading and decoding the samples, summed over tasks and ranks."""
    seconds: float
    data_wait_s: float
    """The part of `seconds` in which this rank waited for data."""


class Callback(Protocol):
    """Something to do after steps. Every rank calls every callback after every step, in order."""

    def after_step(self, outcome: StepOutcome, state: "LoopState") -> None:
        """Do something after a step."""
        ...


@dataclass(slots=True)
class LoopState:
    """State of a run, besides the engine's, that a checkpoint must hold."""

    step: int
    ledger: Ledger
    seen: NDArray[np.int64]
    """(components,) number of samples received."""
    replaced: NDArray[np.int64]
    """(components,) how many of these stand in for a bad sample."""

    @classmethod
    def fresh(cls, components: int) -> Self:
        """The state before the first step."""
        return cls(0, Ledger.empty(), np.zeros(components, np.int64), np.zeros(components, np.int64))

    def consume(self, received: NDArray[np.int64]) -> None:
        """Record the samples of a step, given as (G, 3) position, component and attempt."""
        self.step += 1
        self.ledger = self.ledger.add(received[:, 0])
        size = len(self.seen)
        self.seen = self.seen + np.bincount(received[:, 1], minlength=size)
        self.replaced = self.replaced + np.bincount(received[received[:, 2] > 0, 1], minlength=size)


def run_steps(
    engine: Engine, inputs: Iterator[StepInput], state: LoopState, total_steps: int, callbacks: Sequence[Callback]
) -> None:
    """Train until `total_steps` steps are done; all ranks call this together.

    The positions of each step are gathered over ranks (24 bytes a sample), so that each rank holds the whole ledger.

    Raises:
        DataError: the stream ended early.
    """
    while state.step < total_steps:
        started = time.perf_counter()
        taken = next(inputs, None)
        if taken is None:
            raise DataError(
                f"the stream ended after step {state.step} of {total_steps}: it must deliver every position below"
                " steps × global_batch; see the Ray Data log above for the task that failed"
            )
        waited = time.perf_counter() - started
        stats = engine.train_step(taken.micro_batches, len(state.seen))
        received = gather_samples(taken.micro_batches)
        state.consume(received)
        replaced = bool((received[:, 2] > 0).any())
        outcome = StepOutcome(
            step=state.step,
            stats=stats,
            received=received,
            # A fault always leads to a replacement, so all ranks agree on whether there are faults to gather.
            faults=_gather_faults(taken.faults) if replaced else (),
            cost=_sum_costs(taken.cost),
            seconds=time.perf_counter() - started,
            data_wait_s=waited,
        )
        for callback in callbacks:
            callback.after_step(outcome, state)


def gather_samples(micro_batches: Sequence[ModelBatch]) -> NDArray[np.int64]:
    """Gather a step's samples over all ranks: (G, 3) position, component and attempt, sorted by position.

    Ranks may have different numbers of samples.
    """
    columns = [np.stack([batch.positions, batch.components, batch.attempts], axis=1) for batch in micro_batches]
    received: NDArray[np.int64] = np.concatenate(columns)
    if _world_size() > 1:
        most = torch.tensor(len(received), device=_device())
        dist.all_reduce(most, dist.ReduceOp.MAX)
        mine = torch.full((int(most), 3), -1, dtype=torch.int64)
        mine[: len(received)] = torch.from_numpy(received)
        mine = mine.to(_device())
        parts = [torch.empty_like(mine) for _ in range(_world_size())]
        dist.all_gather(parts, mine)
        received = torch.cat(parts).cpu().numpy()
        received = received[received[:, 0] >= 0]
    return received[np.argsort(received[:, 0], kind="stable")]


def _sum_costs(cost: Cost) -> Cost:
    if _world_size() == 1:
        return cost
    total = torch.tensor(astuple(cost), dtype=torch.float64, device=_device())
    dist.all_reduce(total)
    requests, bytes_read, retries, read_s, decode_s = total.tolist()
    return Cost(int(requests), int(bytes_read), int(retries), read_s, decode_s)


def _gather_faults(faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
    if _world_size() == 1:
        return faults
    parts: list[tuple[Fault, ...]] = [()] * _world_size()
    dist.all_gather_object(parts, faults)
    return tuple(sorted((fault for part in parts for fault in part), key=lambda f: (f.position, f.attempt)))


def _world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def _device() -> str:
    return "cuda" if dist.get_backend() == "nccl" else "cpu"
