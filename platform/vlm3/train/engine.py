"""DeepSpeed behind a few methods: step, save, load, gather. Only this module imports it, when an engine is built."""

import logging
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from pydantic import ValidationError

from vlm3.errors import CheckpointError, ConfigError, UserError
from vlm3.models.segment_attention import segment_attention
from vlm3.tokens.batch import ModelBatch
from vlm3.train.checkpoint import read_state
from vlm3.train.engine_config import EngineConfig
from vlm3.train.loss import answer_loss, count_answer_tokens
from vlm3.train.optimizer import OptimizerConfig

__all__ = ["Engine", "EngineConfig", "StepStats", "require_device"]

FOLDER = "engine"
"""Folder of DeepSpeed's files in a checkpoint."""
TAG = "states"


@dataclass(frozen=True, slots=True, eq=False)
class StepStats:
    """Figures of one optimizer step over all ranks."""

    loss: float
    """Mean cross entropy per answer token, in nats."""
    grad_norm: float
    """Global L2 norm of the gradient before clipping."""
    learning_rate: float
    answer_tokens: int
    component_losses: NDArray[np.float64]
    """(components, 2) per component of the mixture: cross entropy summed over answer tokens, and their number."""


def require_device(name: str) -> torch.device:
    """The torch device of this process: the CPU, or for "cuda" the GPU with number LOCAL_RANK.

    Raises:
        UserError: a GPU is wanted and there is none.
    """
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(
            f"train.device is {name!r}, but torch {torch.__version__} finds no GPU on this machine:"
            " use --set train.device=cpu, or run where there is a GPU and a CUDA build of torch"
        )
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


class Engine:
    """A model in training. Every method is collective: all ranks call it together.

    `torch.distributed` must already be initialised, with one rank or many (gloo on CPU, NCCL on GPU).
    """

    def __init__(
        self,
        model: torch.nn.Module,
        config: EngineConfig,
        optimizer: OptimizerConfig,
        total_steps: int,
        device: torch.device,
    ) -> None:
        """Shard the model's states over the ranks.

        Args:
            model: a Hugging Face causal model with the same weights on every rank; taken over by the engine.
            config: sharding, precision and DeepSpeed overrides.
            optimizer: AdamW and its schedule.
            total_steps: length of the run, which the schedule spans.
            device: from `require_device`.

        Raises:
            ConfigError: no parameter is trained, or DeepSpeed refuses the configuration.
        """
        if not dist.is_initialized():
            raise RuntimeError("initialise torch.distributed before building an Engine, also for one process")
        self._config = config
        self._schedule = optimizer
        self._total_steps = total_steps
        self._device = device
        self._world_size = dist.get_world_size()
        deepspeed = _import_deepspeed(device)
        self._deepspeed: Any = deepspeed
        if config.precision == "fp32":
            model = model.float()
        self._adamw = optimizer.build(model.parameters())
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        try:
            self._engine: Any = deepspeed.initialize(
                model=model, optimizer=self._adamw, config=config.deepspeed_json(optimizer.gradient_clip, trained)
            )[0]
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            key = ".".join(map(str, fault["loc"]))
            raise ConfigError(f"engine.overrides: DeepSpeed refuses {key!r}: {fault['msg']}") from None
        self._engine.train()

    @property
    def module(self) -> torch.nn.Module:
        """The model. With ZeRO-3 its weights are sharded: use `evaluation` or `full_state_dict` to see them."""
        module: torch.nn.Module = self._engine.module
        return module

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return int(self._engine.global_steps)

    def train_step(self, micro_batches: Sequence[ModelBatch], components: int) -> StepStats:
        """Do one optimizer step.

        The loss is the cross entropy summed over the answer tokens of all ranks and micro-batches, divided by their
        number. It does not depend on how samples are shared among micro-batches and ranks.

        Args:
            micro_batches: this rank's share; the same number on every rank, at least one.
            components: number of components of the mixture; the indices in the micro-batches are below it.

        Raises:
            UserError: ranks differ in micro-batches, the step has no answer token, or loss or gradient is not finite
                (the weights are then lost; the last checkpoint is not).
        """
        answer_tokens = self._agree_on_step(micro_batches)
        rate = self._schedule.learning_rate_at(self.step, self._total_steps)
        for group in self._adamw.param_groups:
            group["lr"] = rate
        # DeepSpeed averages gradients over ranks; the loss is a sum over them.
        scale = self._world_size / answer_tokens
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        parts = torch.zeros(components, 2, dtype=torch.float64, device=self._device)
        with segment_attention(self.module):
            for number, micro_batch in enumerate(micro_batches, start=1):
                self._engine.set_gradient_accumulation_boundary(number == len(micro_batches))
                loss = answer_loss(self._engine, micro_batch.to_model_inputs(self._device))
                self._engine.backward(loss.total * scale, scale_wrt_gas=False)
                total += loss.total.detach().double()
                component = torch.from_numpy(micro_batch.components).to(self._device)
                parts.index_add_(0, component, torch.stack([loss.rows, loss.tokens], dim=1).double())
        grad_norm = self._norm_of_whole_gradients()
        self._engine.step()
        sums = torch.cat([total[None], parts.flatten()])
        dist.all_reduce(sums)
        loss_sum, *by_component = sums.tolist()
        if grad_norm is None:
            reported = self._engine.get_global_grad_norm()
            grad_norm = math.nan if reported is None else float(reported)
        losses = np.array(by_component, np.float64).reshape(components, 2)
        stats = StepStats(loss_sum / answer_tokens, grad_norm, rate, answer_tokens, losses)
        # DeepSpeed reports −1 for a norm that overflowed.
        if not (math.isfinite(stats.loss) and math.isfinite(grad_norm) and grad_norm >= 0):
            raise UserError(
                f"step {self.step}: loss {stats.loss:g} and gradient norm {grad_norm:g} must be finite:"
                " continue from the last checkpoint with a lower optimizer.learning_rate or a longer warm-up"
            )
        return stats

    def save(self, folder: Path) -> dict[str, int]:
        """Write weights, optimizer states and step count.

        Each rank writes its own files below `folder`, which may be a different place on each rank. Merged into one
        folder, with the state file that `vlm3.train.checkpoint.commit` adds, they are what `load` reads.

        Returns:
            Relative path → size in bytes of each file, over all ranks.
        """
        shards = folder / FOLDER
        shards.mkdir(parents=True, exist_ok=True)
        self._engine.save_checkpoint(str(shards), tag=TAG, save_latest=False)
        paths = [path for path in shards.rglob("*") if path.is_file()]
        own = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
        parts: list[Any] = [None] * self._world_size
        dist.all_gather_object(parts, own)
        return {name: size for part in parts for name, size in part.items()}

    def load(self, folder: Path) -> None:
        """Continue from a committed checkpoint, all of whose files each rank can read. Call it before the first step.

        Raises:
            CheckpointError: it is incomplete, of another zero_stage, or sharded over another number of ranks.
        """
        state = read_state(folder)
        if state.zero_stage != self._config.zero_stage:
            raise CheckpointError(
                f"{folder}: written with engine.zero_stage {state.zero_stage}, this run has {self._config.zero_stage}:"
                f" use --set engine.zero_stage={state.zero_stage}"
            )
        if state.zero_stage > 0 and state.world_size != self._world_size:
            raise CheckpointError(
                f"{folder}: its optimizer states are sharded over {state.world_size} workers, this run has"
                f" {self._world_size}: use --set train.workers={state.world_size}"
                " (only checkpoints of zero_stage 0 load at any size)"
            )
        path, _ = self._engine.load_checkpoint(str(folder / FOLDER), tag=TAG)
        if path is None:
            raise CheckpointError(f"{folder}: DeepSpeed finds no states in {folder / FOLDER}; give an older checkpoint")

    def full_state_dict(self) -> dict[str, torch.Tensor] | None:
        """A copy of all weights on the CPU of rank 0, under the model's own names; None on the other ranks.

        Tied weights stay tied: both names hold the same tensor.
        """
        copies: dict[int, torch.Tensor] = {}
        state: dict[str, torch.Tensor] = {}
        for name, tensor in self.module.state_dict(keep_vars=True).items():
            with self._gathered([tensor]):
                if dist.get_rank() == 0:
                    if id(tensor) not in copies:
                        copies[id(tensor)] = tensor.detach().to("cpu", copy=True)
                    state[name] = copies[id(tensor)]
        return state if dist.get_rank() == 0 else None

    @contextmanager
    def evaluation(self) -> Iterator[torch.nn.Module]:
        """Context with the model in evaluation mode and whole weights on every rank; each rank may run it on its own.

        With ZeRO-3 the weights stay gathered while the context lasts, so they must fit into one device.
        """
        sharding = self._engine.optimizer.parameter_offload if self._config.zero_stage == 3 else None
        self._engine.eval()
        with self._gathered(list(self.module.parameters())):
            if sharding is not None:
                # Its hooks would shard each layer again after use, and wait for the other ranks to gather it.
                sharding._remove_module_hooks()
            try:
                yield self.module
            finally:
                if sharding is not None:
                    sharding.setup_zero_stage3_hooks()
                self._engine.train()

    def _gathered(self, tensors: Sequence[torch.Tensor]) -> Any:
        """Context in which sharded weights are whole on every rank, read only; without ZeRO-3 they always are."""
        sharded = [tensor for tensor in tensors if hasattr(tensor, "ds_id")]
        return self._deepspeed.zero.GatheredParameters(sharded, enabled=bool(sharded))

    def _agree_on_step(self, micro_batches: Sequence[ModelBatch]) -> int:
        """Check that all ranks have the same number of micro-batches: otherwise they would wait for each other.

        Returns:
            Number of answer tokens of the whole step.
        """
        tokens = sum(count_answer_tokens(micro_batch.labels) for micro_batch in micro_batches)
        own = torch.tensor([len(micro_batches), tokens], device=self._device)
        parts = [torch.empty_like(own) for _ in range(self._world_size)]
        dist.all_gather(parts, own)
        table = torch.stack(parts).tolist()
        counts = [count for count, _ in table]
        if len(set(counts)) > 1 or counts[0] < 1:
            raise UserError(
                f"step {self.step}: every worker needs the same number of micro-batches, at least one; workers 0 to"
                f" {self._world_size - 1} have {counts}: check train.global_batch and the stream's split over workers"
            )
        if not (answer_tokens := sum(tokens for _, tokens in table)):
            raise UserError(f"step {self.step}: no sample of the step has an answer token: nothing can be learned")
        return int(answer_tokens)

    def _norm_of_whole_gradients(self) -> float | None:
        """Gradient norm in fp32 without ZeRO, where DeepSpeed does not report it; None otherwise."""
        if self._config.zero_stage > 0 or self._config.precision != "fp32":
            return None
        gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
        return float(torch.nn.utils.get_total_norm(gradients))


def _import_deepspeed(device: torch.device) -> Any:
    """Import DeepSpeed, set up for our device and logging warnings only.

    Raises:
        RuntimeError: DeepSpeed was imported before, for another kind of device.
    """
    # Torch would give two FutureWarnings about DeepSpeed's collectives for each engine and rank.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    os.environ.setdefault("DS_ACCELERATOR", device.type)
    # DeepSpeed needs this variable even if the process group exists.
    os.environ.setdefault("LOCAL_RANK", str(device.index or 0))
    import deepspeed

    _import_muon()
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    found = deepspeed.get_accelerator().device_name()
    if found != device.type:
        raise RuntimeError(f"DeepSpeed runs on {found!r} in this process, not on {device.type!r}: unset DS_ACCELERATOR")
    if device.type == "cpu":
        # On CPU DeepSpeed would compile a shared-memory all-reduce at first use (a minute and a C++ compiler), only for
        # inference. It does not try if no operator is declared compatible.
        deepspeed.ops.__compatible_ops__ = {}
    return deepspeed


def _import_muon() -> None:
    """Import DeepSpeed's Muon optimizer without torch's compiler.

    DeepSpeed always imports this optimizer, to compare types. Its decorators would load all of torch's compiler, which
    takes seconds in each worker, for an optimizer that is never used here.
    """
    from deepspeed.runtime import compiler

    real, compiler.compile = compiler.compile, lambda: compiler.dummy_decorator
    try:
        import deepspeed.runtime.zero.muon.muon_optimizer  # noqa: F401
    finally:
        compiler.compile = real
