"""A fresh tiny model attends to the place that a question names, in any image; small heads hold a coarser code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from vlm3.models.corpus import shipped_corpus
from vlm3.models.load import ModelConfig, load_model
from vlm3.models.tiny import TinyConfig, build_tiny
from vlm3.tokens.patches import patchify
from vlm3.tokens.vision import VisionSpec

QUESTION = "<|im_start|>user\n<|vision_start|>{}<|vision_end|>metres distance, of 100: {}<|im_end|>\n"
ANSWER = "<|im_start|>assistant\n"
SHAPES = ((8, 10), (5, 12), (9, 4))
"""(rows, columns) of visual tokens."""
Attend = Callable[[str, tuple[int, int], int], np.ndarray]


def attend(directory: Path) -> tuple[Attend, Any]:
    """The model, and what the token before an answer attends to in an image of (rows, columns), in the second layer."""
    spec, tokenizer = VisionSpec.from_directory(directory), AutoTokenizer.from_pretrained(directory)
    model: Any = load_model(directory, ModelConfig(id=str(directory), dtype="float32")).eval()
    model.set_attn_implementation("eager")

    def attention(asked: str, shape: tuple[int, int], seed: int) -> np.ndarray:
        rows, columns = shape
        rng = np.random.default_rng(seed)
        colours = rng.integers(0, 255, (rows, columns, 3)).astype(np.uint8)
        image = colours.repeat(spec.token_px, axis=0).repeat(spec.token_px, axis=1)
        patches, grid = patchify([torch.from_numpy(image)], spec)
        text = QUESTION.format("<|image_pad|>" * (rows * columns), asked) + ANSWER
        ids = tokenizer(text, return_tensors="pt").input_ids
        visual = ids == model.config.image_token_id
        with torch.no_grad():
            out = model(
                input_ids=ids,
                pixel_values=patches,
                image_grid_thw=grid,
                mm_token_type_ids=visual.long(),
                output_attentions=True,
                use_cache=False,
            )
        return out.attentions[1][0, 0, -1][visual[0]].reshape(shape).numpy()

    return attention, model


def centre(weights: np.ndarray) -> float:
    """Centre of weights along a side of length 1."""
    return float(weights @ (np.arange(len(weights)) + 0.5) / len(weights) / weights.sum())


@pytest.fixture(scope="module", params=[0, 2])
def fresh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Attend:
    folder = tmp_path_factory.mktemp("pointing") / "model"
    return attend(build_tiny(folder, TinyConfig(), request.param, shipped_corpus()))[0]


@given(st.integers(0, 99), st.integers(0, 99), st.sampled_from(SHAPES), st.integers(0, 99))
def test_text_after_two_coordinates_attends_to_their_place(
    fresh: Attend, x: int, y: int, shape: tuple[int, int], seed: int
) -> None:
    seen = fresh(f"{x:02d},{y:02d}", shape, seed)
    assert seen.sum() > 0.8, "the rest goes to text"
    # The digit may be off by half a tenth, the token by half of itself, and at the border there is one side only.
    assert abs(centre(seen.sum(axis=0)) - x / 100) < 0.2
    assert abs(centre(seen.sum(axis=1)) - y / 100) < 0.2


@pytest.mark.parametrize("heads", [2, 8])
def test_heads_that_cannot_hold_the_code_stay_random(tmp_path: Path, heads: int) -> None:
    small = TinyConfig(text_hidden=32, text_heads=heads, vision_hidden=32)
    attention, model = attend(build_tiny(tmp_path / "small", small, 0, shipped_corpus()))
    assert attention("79,32", (8, 10), 0).sum() < 0.9
    assert all((layer.self_attn.q_norm.weight == 1).all() for layer in model.model.language_model.layers)


def test_smaller_heads_hold_a_coarser_code(tmp_path: Path) -> None:
    small = TinyConfig(text_hidden=64, vision_hidden=32)
    attention, _ = attend(build_tiny(tmp_path / "small", small, 0, shipped_corpus()))
    for low, high, axis in (("05,50", "95,50", 0), ("50,05", "50,95", 1)):
        near, far = (centre(attention(asked, (8, 10), 0).sum(axis=axis)) for asked in (low, high))
        assert near < 0.35 and far > 0.65
