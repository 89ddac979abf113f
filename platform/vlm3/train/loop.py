"""The training loop: exactly the steps asked for, every consumed position accounted for."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from vlm3.errors import DataError
from vlm3.mixture.ledger import Ledger
from vlm3.tokens.batch import ModelBatch
from vlm3.train.engine import Engine, StepStats


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What happened in one step, over all ranks."""

    step: int
    """Steps done, this one included."""
    stats: StepStats
    received: NDArray[np.int64]
    """(G, 3) position, component, attempt of every sample, sorted by position."""
    seconds: float
    data_wait_s: float
    """Of `seconds`, how long this rank waited for data."""


class Callback(Protocol):
    """Something that happens after steps. Every rank calls every callback at every step, in order."""

    def after_step(self, outcome: StepOutcome, state: "LoopState") -> None:
        """Called after each step."""
        ...


@dataclass(slots=True)
class LoopState:
    """What a checkpoint must hold besides the engine."""

    step: int
    ledger: Ledger
    replaced: int = 0
    components: list[NDArray[np.int64]] = field(default_factory=list)
    """Component of each sample, a step an array: what the realised shares are counted on."""


def run_steps(
    engine: Engine,
    inputs: Iterator[Sequence[ModelBatch]],
    state: LoopState,
    total_steps: int,
    callbacks: Sequence[Callback],
) -> None:
    """Train until `total_steps`; all ranks call this together.

    Every step's positions are gathered over ranks (24 bytes a sample): each rank holds the whole ledger.

    Raises:
        DataError: the stream ended early.
    """
    while state.step < total_steps:
        started = time.perf_counter()
        micro_batches = next(inputs, None)
        if micro_batches is None:
            raise DataError(
                f"the stream ended after step {state.step} of {total_steps}: it must deliver every position below"
                " steps × global_batch; see the Ray Data log above for the task that failed"
            )
        waited = time.perf_counter() - started
        stats = engine.train_step(micro_batches)
        received = gather_samples(micro_batches)
        state.step += 1
        state.ledger = state.ledger.add(received[:, 0])
        state.components.append(received[:, 1])
        state.replaced += int(np.count_nonzero(received[:, 2]))
        outcome = StepOutcome(state.step, stats, received, time.perf_counter() - started, waited)
        for callback in callbacks:
            callback.after_step(outcome, state)


def gather_samples(micro_batches: Sequence[ModelBatch]) -> NDArray[np.int64]:
    """(G, 3) position, component, attempt of the step's samples over all ranks, sorted by position."""
    columns = [np.stack([batch.positions, batch.components, batch.attempts], axis=1) for batch in micro_batches]
    mine = torch.from_numpy(np.concatenate(columns))
    if dist.is_initialized() and dist.get_world_size() > 1:
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        mine = mine.to(device)
        parts = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, mine)
        mine = torch.cat(parts).cpu()
    received: NDArray[np.int64] = mine.numpy()
    return received[np.argsort(received[:, 0], kind="stable")]
