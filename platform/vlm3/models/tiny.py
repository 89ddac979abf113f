"""The `tiny` preset: a stock Qwen3-VL of about a million parameters, built offline, for two CPU cores."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from vlm3.config import StrictModel
from vlm3.models.quiet import no_progress_bars
from vlm3.models.tiny_tokenizer import build_tokenizer
from vlm3.storage.atomic import new_directory

Size = Annotated[int, Field(ge=1)]
FORMAT = 3
"""Number to increase when the same configuration would give another model."""
TEMPLATE_FILE = "chat_template.jinja"
PATCH_PX, MERGE, TEMPORAL_PATCH = 8, 2, 2
TOKEN_PX = PATCH_PX * MERGE


class TinyConfig(StrictModel):
    """Sizes of the preset. A patch has 8 × 8 px, and a visual token covers 16 × 16 px."""

    vocabulary: Annotated[int, Field(ge=400, le=4096)] = 640
    """Number of tokens, including the 256 bytes and Qwen's special tokens."""
    text_hidden: Annotated[int, Field(multiple_of=32, ge=32)] = 128
    text_layers: Annotated[int, Field(ge=2)] = 3
    text_heads: Size = 4
    text_intermediate: Size = 320
    vision_hidden: Annotated[int, Field(multiple_of=16, ge=32)] = 64
    vision_layers: Annotated[int, Field(ge=2)] = 3
    vision_heads: Size = 4
    vision_intermediate: Size = 192
    position_grid: Size = 16
    """Side of the square of learned vision positions, interpolated to each image's grid."""
    initializer_range: Annotated[float, Field(gt=0)] = 0.06
    min_pixels: Size = TOKEN_PX * TOKEN_PX * 4
    max_pixels: Size = 512 * 512

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        # Rotary positions need pairs of numbers in a text head, and pairs for height and for width in a vision head.
        for name, hidden, heads, pairs in (
            ("text_heads", self.text_hidden, self.text_heads, 2),
            ("vision_heads", self.vision_hidden, self.vision_heads, 4),
        ):
            if hidden % (heads * pairs):
                raise ValueError(
                    f"{name}: {heads} heads of a multiple of {pairs} numbers do not fill a width of {hidden}"
                )
        if self.text_heads % max(1, self.text_heads // 2):
            raise ValueError(f"text_heads: {self.text_heads} heads cannot share keys by twos: expected an even number")
        return self

    def fingerprint(self, seed: int, corpus: Iterable[str]) -> str:
        """Hash of everything that determines the weights and the tokenizer."""
        digest = hashlib.sha256(f"{FORMAT} {seed} {self.model_dump_json()}".encode())
        for text in corpus:
            digest.update(text.encode() + b"\0")
        return digest.hexdigest()[:12]


def build_tiny(directory: Path, config: TinyConfig, seed: int, corpus: Iterable[str]) -> Path:
    """Write the preset as an ordinary Hugging Face directory, unless it is there already.

    Args:
        directory: directory to write; it appears whole or not at all, even if two processes build it at once.
        config: sizes of the preset.
        seed: seed of the weights.
        corpus: texts like those that the model will read and write; the tokenizer is trained on them.

    Returns:
        `directory`.
    """
    if directory.is_dir():
        return directory
    with new_directory(directory) as folder:
        tokenizer = build_tokenizer(corpus, config.vocabulary)
        tokenizer.chat_template = (Path(__file__).parent / TEMPLATE_FILE).read_text(encoding="utf-8")
        tokenizer.save_pretrained(folder)
        tokenizer.backend_tokenizer.model.save(str(folder))
        with no_progress_bars():
            _build_model(config, seed, tokenizer).save_pretrained(folder)
        for name, settings in _processors(config).items():
            (folder / name).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return directory


def _build_model(config: TinyConfig, seed: int, tokenizer: Any) -> Any:
    import torch
    from transformers import GenerationConfig, Qwen3VLConfig, Qwen3VLForConditionalGeneration

    from vlm3.models.look_back import look_back
    from vlm3.models.pointing import point

    def token(text: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(text))

    head = config.text_hidden // config.text_heads
    # Rotary frequencies are divided among time, height and width; height and width get about a third each.
    side = head // 6
    model_config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": config.text_hidden,
            "intermediate_size": config.text_intermediate,
            "num_hidden_layers": config.text_layers,
            "num_attention_heads": config.text_heads,
            "num_key_value_heads": max(1, config.text_heads // 2),
            "head_dim": head,
            "max_position_embeddings": 8192,
            "initializer_range": config.initializer_range,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_interleaved": True,
                "mrope_section": [head // 2 - 2 * side, side, side],
            },
            "pad_token_id": tokenizer.pad_token_id,
            "tie_word_embeddings": True,
            "dtype": "float32",
        },
        vision_config={
            "depth": config.vision_layers,
            "hidden_size": config.vision_hidden,
            "intermediate_size": config.vision_intermediate,
            "num_heads": config.vision_heads,
            "patch_size": PATCH_PX,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": TEMPORAL_PATCH,
            "out_hidden_size": config.text_hidden,
            "num_position_embeddings": config.position_grid**2,
            "deepstack_visual_indexes": [0],
            "initializer_range": config.initializer_range,
            "dtype": "float32",
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3VLForConditionalGeneration(model_config)
    look_back(model.model.language_model, seed)
    point(model, [token(str(digit)) for digit in range(10)], seed)
    model.generation_config = GenerationConfig(
        do_sample=False,
        eos_token_id=[token("<|im_end|>"), token("<|endoftext|>")],
        pad_token_id=tokenizer.pad_token_id,
    )
    return model


def _processors(config: TinyConfig) -> dict[str, dict[str, Any]]:
    shared = {
        "size": {"shortest_edge": config.min_pixels, "longest_edge": config.max_pixels},
        "patch_size": PATCH_PX,
        "temporal_patch_size": TEMPORAL_PATCH,
        "merge_size": MERGE,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "Qwen3VLProcessor",
    }
    return {
        "preprocessor_config.json": shared | {"image_processor_type": "Qwen2VLImageProcessorFast"},
        "video_preprocessor_config.json": shared | {"video_processor_type": "Qwen3VLVideoProcessor"},
    }
