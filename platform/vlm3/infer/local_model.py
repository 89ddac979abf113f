"""A Qwen3-VL in this process, which answers greedily."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from vlm3.asking.text_model import ImageBounds, Reply, TextRequest
from vlm3.errors import ConfigError
from vlm3.infer.engine import Engine
from vlm3.infer.prefix import PrefixCache
from vlm3.models.load import ModelConfig, load_model
from vlm3.tokens.encode import ConversationEncoder
from vlm3.tokens.vision import VisionSpec


@dataclass(frozen=True, slots=True, eq=False)
class LocalModel:
    """A model with the encoder and image settings that make its inputs."""

    model: Any
    """Stock Qwen3-VL for conditional generation, on any device."""
    encoder: ConversationEncoder
    vision: VisionSpec
    prefixes: PrefixCache | None = None
    """Of the images that were asked about last; only for weights that do not change."""

    @classmethod
    def load(cls, model_dir: Path, device: str, prefix_bytes: int = 0) -> Self:
        """Load a model from a Hugging Face directory: bf16 on a GPU, fp32 on a CPU.

        Args:
            model_dir: the directory.
            device: `cpu` or `cuda`.
            prefix_bytes: memory for images that were asked about last; none are kept by default.

        Raises:
            ConfigError: the directory holds no Qwen3-VL, or there is no such device.
        """
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ConfigError(f"device {device!r}: this machine has no usable GPU; use device 'cpu'")
        config = ModelConfig(id=str(model_dir), dtype="bfloat16" if device.startswith("cuda") else "float32")
        return cls(
            model=load_model(model_dir, config).to(device).eval(),
            encoder=ConversationEncoder.from_directory(model_dir),
            vision=VisionSpec.from_directory(model_dir),
            prefixes=PrefixCache(prefix_bytes) if prefix_bytes else None,
        )

    @property
    def bounds(self) -> ImageBounds:
        """Image bounds of the model's processor."""
        return self.vision.bounds

    def answer(self, request: TextRequest) -> list[Reply]:
        """The greedy answer to each question."""
        return self.engine.answer(
            request.images,
            request.questions,
            max_new_tokens=request.max_new_tokens,
            system=request.system,
            form=request.form,
        )

    @property
    def engine(self) -> Engine:
        """What asks the model."""
        return Engine(self.model, self.encoder, self.vision, self.prefixes)
