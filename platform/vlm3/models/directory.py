"""Directories that look like a model to start from and are none: quantized weights, adapters without their base."""

import json
from pathlib import Path
from typing import Any

from vlm3.errors import ConfigError

WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")


def require_whole_model(directory: Path) -> None:
    """Refuse what only seems to be a model in Hugging Face layout; a directory without a config.json passes.

    Raises:
        ConfigError: the weights are quantized, or those of a LoRA adapter.
    """
    require_unquantized(directory)
    adapter = (directory / "adapter_config.json").is_file()
    if adapter and not any(file for pattern in WEIGHTS for file in directory.glob(pattern)):
        raise ConfigError(
            f"{directory}: a LoRA adapter: merge it into its base model first (peft's merge_and_unload, then"
            " save_pretrained), and give the merged directory"
        )


def require_unquantized(directory: Path) -> None:
    """Refuse weights that `config.json` calls quantized.

    They cannot be trained. Nor are they asked in this process: an evaluation of theirs is one of the engine that
    dequantizes them, so it goes by that engine's endpoint.

    Raises:
        ConfigError: they are.
    """
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # who reads it says what is wrong
    sections = [config, *config.values()] if isinstance(config, dict) else []
    for section in sections:
        how: Any = section.get("quantization_config") if isinstance(section, dict) else None
        if how:
            method = how.get("quant_method") if isinstance(how, dict) else None
            raise ConfigError(
                f"{directory}: quantized weights ({method or 'of an unnamed method'}) cannot be trained: give the bf16"
                " model; to evaluate these, serve them and give jobs/benchmark.py the endpoint"
            )
