"""Patches equal those of the stock image processor."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vlm3.tokens.patches import patchify
from vlm3.tokens.vision import VisionSpec

QWEN3_VL = VisionSpec(16, 2, 2, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 65536, 16777216, 151655)
CLIP_LIKE = VisionSpec(
    14, 2, 2, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), 28 * 28, 10**6, 1
)


def random_image(height: int, width: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def stock_processor(spec: VisionSpec) -> Qwen2VLImageProcessorPil:
    return Qwen2VLImageProcessorPil(
        size={"shortest_edge": spec.min_pixels, "longest_edge": spec.max_pixels},
        patch_size=spec.patch_px,
        merge_size=spec.merge,
        temporal_patch_size=spec.temporal_patch,
        image_mean=list(spec.mean),
        image_std=list(spec.std),
    )


@pytest.mark.floats
@settings(max_examples=20, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(2, 9), st.integers(2, 9)), min_size=1, max_size=3),
    seed=st.integers(0, 2**32),
    which=st.sampled_from(["preset", "clip"]),
)
def test_patches_equal_stock_processor_on_the_grid(
    model_dir: Path, sizes: list[tuple[int, int]], seed: int, which: str
) -> None:
    spec = VisionSpec.from_directory(model_dir) if which == "preset" else CLIP_LIKE
    images = [random_image(h * spec.token_px, w * spec.token_px, seed + i) for i, (h, w) in enumerate(sizes)]
    pixel_values, grid = patchify(images, spec)
    expected = stock_processor(spec)(images=[image.numpy() for image in images], return_tensors="pt")
    assert torch.equal(grid, expected["image_grid_thw"])
    torch.testing.assert_close(pixel_values, expected["pixel_values"], atol=1e-6, rtol=0)


@pytest.mark.floats
def test_the_real_models_spec_gives_stock_patches_at_paper_size() -> None:
    image = random_image(896, 1216, 3)
    pixel_values, grid = patchify([image], QWEN3_VL)
    expected = stock_processor(QWEN3_VL)(images=[image.numpy()], return_tensors="pt")
    assert torch.equal(grid, expected["image_grid_thw"])
    assert QWEN3_VL.tokens(896, 1216) == 28 * 38
    torch.testing.assert_close(pixel_values, expected["pixel_values"], atol=1e-6, rtol=0)


@pytest.mark.floats
def test_the_presets_own_files_configure_the_stock_processor(model_dir: Path) -> None:
    spec, image = VisionSpec.from_directory(model_dir), random_image(112, 160, 0)
    stock = Qwen2VLImageProcessorPil.from_pretrained(model_dir)
    expected = stock(images=[image.numpy()], return_tensors="pt")
    pixel_values, grid = patchify([image], spec)
    assert torch.equal(grid, expected["image_grid_thw"]) and spec.token_px == 16
    torch.testing.assert_close(pixel_values, expected["pixel_values"], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(100, 160), (112, 150), (0, 16)])
def test_images_off_the_grid_are_refused(model_dir: Path, height: int, width: int) -> None:
    spec = VisionSpec.from_directory(model_dir)
    with pytest.raises(ValueError, match="multiples of 16 px"):
        patchify([torch.zeros(height, width, 3, dtype=torch.uint8)], spec)
