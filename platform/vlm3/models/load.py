"""Finds and loads the model of a recipe: the tiny preset, a local directory or a Hugging Face hub id."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from vlm3.config import StrictModel
from vlm3.errors import ConfigError
from vlm3.log import get_logger
from vlm3.models.corpus import shipped_corpus
from vlm3.models.directory import require_unquantized, require_whole_model
from vlm3.models.quiet import no_progress_bars
from vlm3.models.tiny import TinyConfig, build_tiny

log = get_logger(__name__)
TINY = "tiny"
MODEL_TYPE = "qwen3_vl"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
HUB_FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja")


class ModelConfig(StrictModel):
    """The model a run starts from."""

    id: Annotated[str, Field(min_length=1)] = TINY
    """`tiny`, a local directory in Hugging Face layout, or a hub id such as Qwen/Qwen3-VL-4B-Instruct."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    tiny: TinyConfig = TinyConfig()
    """Sizes of the `tiny` preset."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the weights when they are loaded; the engine has its own precision."""
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    freeze: tuple[Literal["vision", "merger", "language"], ...] = ()
    """Parts that are not trained."""


def require_model(config: ModelConfig) -> None:
    """Check a model by its small files: nothing is built, and of a hub model only its config.json is fetched.

    Raises:
        ConfigError: for the reasons in `resolve_model`, as far as these files show them.
    """
    if config.id == TINY:
        return
    path = Path(config.id).expanduser()
    if path.is_dir():
        require_whole_model(path)
        _require_type(path)
        return
    if not HUB_ID.fullmatch(config.id):
        raise ConfigError(
            f"model.id {config.id!r}: no such directory; expected {TINY!r}, a model directory or a hub id such as"
            " Qwen/Qwen3-VL-4B-Instruct"
        )
    log.info("model %s: looking in the Hugging Face cache, downloading what is not there", config.id)
    directory = _download(config, ("config.json",))
    require_unquantized(directory)
    _require_type(directory)


def resolve_model(config: ModelConfig, cache_dir: Path, seed: int) -> Path:
    """The local directory of the model.

    The preset is built once below `cache_dir`; a hub model is downloaded to Hugging Face's own cache.

    Raises:
        ConfigError: there is no such directory or hub model, the hub cannot be reached, the model is no Qwen3-VL, or
            the weights are quantized or those of an adapter.
    """
    require_model(config)
    if config.id == TINY:
        corpus = shipped_corpus()
        return build_tiny(cache_dir / f"tiny-{config.tiny.fingerprint(seed, corpus)}", config.tiny, seed, corpus)
    path = Path(config.id).expanduser()
    if path.is_dir():
        return path.resolve()
    directory = _download(config, HUB_FILES)
    require_whole_model(directory)
    return directory


def _download(config: ModelConfig, patterns: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        return Path(snapshot_download(config.id, revision=config.revision, allow_patterns=list(patterns)))
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise ConfigError(f"model.id {config.id!r}: not on the hub, or not for you: {_first_line(error)}") from None
    except (HfHubHTTPError, OSError) as error:
        raise ConfigError(
            f"model.id {config.id!r}: no such directory here, not in the Hugging Face cache, and the hub cannot be"
            f" reached ({_first_line(error)}); download it where there is a network and give the directory"
        ) from None


def load_model(directory: Path, config: ModelConfig) -> Any:
    """Load the stock model of `directory`, ready for training.

    Returns:
        A `transformers.Qwen3VLForConditionalGeneration` in training mode.

    Raises:
        ConfigError: the directory holds no Qwen3-VL, not all of its weights, or quantized or adapter weights.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText

    require_whole_model(directory)
    _require_type(directory)
    try:
        with no_progress_bars():
            model, weights = AutoModelForImageTextToText.from_pretrained(
                directory,
                dtype=getattr(torch, config.dtype),
                attn_implementation=config.attention,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        raise ConfigError(f"{directory}: cannot be loaded as a Qwen3-VL model: {_first_line(error)}") from None
    # The library would fill missing weights with random numbers.
    if lacking := sorted(weights["missing_keys"]):
        raise ConfigError(f"{directory}: {len(lacking)} weights are missing, {lacking[0]} first; copy it anew")
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    _freeze(model, config.freeze)
    return model.train()


def _require_type(directory: Path) -> None:
    """Refuse a `config.json` that names another type of model. Raises ConfigError."""
    try:
        found = json.loads((directory / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        return  # code that loads the model reports what is wrong
    if found != MODEL_TYPE:
        raise ConfigError(f"{directory}: holds a model of type {found!r}; expected {MODEL_TYPE!r}")


def _freeze(model: Any, parts: tuple[str, ...]) -> None:
    for name, parameter in model.named_parameters():
        if _part(name) in parts:
            parameter.requires_grad_(False)


def _part(weight: str) -> str:
    """The part of the model to which a weight belongs."""
    if not weight.startswith("model.visual."):
        return "language"
    return "merger" if "merger" in weight else "vision"


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
