"""Refuses directories that look like a model to start from but are not: quantized weights, adapters without a base."""

import json
from pathlib import Path
from typing import Any

from vlm3.errors import ConfigError

WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")


def require_whole_model(directory: Path) -> None:
    """Refuse quantized weights, and a LoRA adapter without its base model; a directory without a config.json passes.

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

    They cannot be trained. They are not evaluated in this process either: the result depends on the engine that
    dequantizes them, so they are evaluated through that engine's endpoint.

    Raises:
        ConfigError: the weights are quantized.
    """
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # code that loads the model reports what is wrong
    sections = [config, *config.values()] if isinstance(config, dict) else []
    for section in sections:
        how: Any = section.get("quantization_config") if isinstance(section, dict) else None
        if how:
            method = how.get("quant_method") if isinstance(how, dict) else None
            raise ConfigError(
                f"{directory}: quantized weights ({method or 'of an unnamed method'}) cannot be trained: give the bf16"
                " model; to evaluate these, serve them and give jobs/benchmark.py the endpoint"
            )
