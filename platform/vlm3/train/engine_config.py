"""Configuration of the engine in a recipe, and the DeepSpeed JSON made from it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, model_validator

from vlm3.config import StrictModel, flatten
from vlm3.errors import ConfigError

OWNED = {
    "train_batch_size": "train.global_batch",
    "train_micro_batch_size_per_gpu": "engine.micro_batch",
    "gradient_accumulation_steps": "train.global_batch and engine.micro_batch",
    "managed_gradient_accumulation": "train.global_batch and engine.micro_batch",
    "gradient_clipping": "optimizer.gradient_clip",
    "optimizer": "optimizer",
    "scheduler": "optimizer.warmup_share and optimizer.floor_share",
    "bf16.enabled": "engine.precision",
    "fp16": "engine.precision",
    "zero_allow_untested_optimizer": "optimizer",
    "zero_force_ds_cpu_optimizer": "optimizer",
    "zero_optimization.stage": "engine.zero_stage",
    "zero_optimization.offload_optimizer.device": "engine.offload",
}
"""DeepSpeed key → field of the recipe that decides it."""

LARGEST_BUCKET = 200_000_000
"""Largest number of elements that are reduced at once (0.8 GB in fp32)."""


class EngineConfig(StrictModel):
    """How a step is computed and where its states are kept."""

    zero_stage: Annotated[int, Field(ge=0, le=3)] = 2
    """What DeepSpeed ZeRO shards over ranks: 0 nothing, 1 optimizer states, 2 also gradients, 3 also weights."""
    offload: Literal["none", "cpu"] = "none"
    """Where optimizer states and their fp32 weights are kept; "cpu" needs a zero_stage of at least 1."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of weights and activations; with bf16 the optimizer keeps fp32 weights."""
    micro_batch: Annotated[int, Field(ge=1)] = 8
    """Number of samples that a rank puts through the model at once."""
    overrides: dict[str, JsonValue] = Field(default_factory=dict)
    """More DeepSpeed JSON, nested or with dotted keys; keys that fields of the recipe decide are refused."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.offload == "cpu" and self.zero_stage == 0:
            raise ValueError("offload: cpu moves sharded states, so it needs zero_stage 1, 2 or 3")
        _check_set_once(self.overrides)
        return self

    def deepspeed_json(self, gradient_clip: float, trained_parameters: int) -> dict[str, Any]:
        """The whole DeepSpeed configuration.

        Args:
            gradient_clip: largest gradient norm, 0 for no clipping.
            trained_parameters: number of trained parameters, which bounds the communication buffers.
        """
        bucket = max(1, min(LARGEST_BUCKET, trained_parameters))
        flat: dict[str, Any] = {
            "steps_per_print": 1 << 40,
            "zero_optimization.reduce_bucket_size": bucket,
            "zero_optimization.allgather_bucket_size": bucket,
        }
        if self.precision == "bf16" and self.zero_stage > 0:
            # Otherwise the gradients of micro-batches would be summed with 8 bits of mantissa.
            flat["data_types.grad_accum_dtype"] = "fp32"
        flat.update(flatten(self.overrides))
        flat |= {
            "train_micro_batch_size_per_gpu": self.micro_batch,
            # The engine marks the last micro-batch itself and scales the loss itself, so DeepSpeed must not divide.
            "gradient_accumulation_steps": 1,
            "gradient_clipping": gradient_clip,
            "bf16.enabled": self.precision == "bf16",
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            "zero_optimization.stage": self.zero_stage,
        }
        if self.offload == "cpu":
            flat["zero_optimization.offload_optimizer.device"] = "cpu"
        return nest(flat)


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings from dotted keys: the inverse of `vlm3.config.flatten`."""
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, leaf = path.split(".")
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return nested


def _check_set_once(overrides: Mapping[str, Any]) -> None:
    """Refuse keys that are written both nested and dotted, and keys that fields of the recipe decide.

    Raises:
        ConfigError: a key is set twice; the message names it, and the field that sets it.
    """
    paths: list[str] = []
    for path, _ in flatten(overrides):
        if any(_overlap(path, other) for other in paths):
            raise ConfigError(f"engine.overrides: {path!r} is set twice; keep one of the two")
        paths.append(path)
    for path in paths:
        for owned, field in OWNED.items():
            if _overlap(path, owned):
                raise ConfigError(
                    f"engine.overrides: {path!r} is set twice: {field} decides it already; remove it there"
                )


def _overlap(path: str, other: str) -> bool:
    """Whether one of two dotted paths is the other, or lies below it."""
    return f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.")
