"""The preset is an ordinary hub directory, the same for the same seed, built once."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer, Qwen3VLForConditionalGeneration

from vlm3.errors import ConfigError
from vlm3.models.corpus import shipped_corpus
from vlm3.models.load import ModelConfig, resolve_model
from vlm3.models.tiny import TinyConfig, build_tiny
from vlm3.models.tiny_tokenizer import ADDED, SPECIAL

HUB_FILES = {
    "chat_template.jinja", "config.json", "generation_config.json", "merges.txt", "model.safetensors",
    "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "video_preprocessor_config.json",
    "vocab.json",
}  # fmt: skip


def digests(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


@pytest.fixture(scope="module")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return resolve_model(ModelConfig(), tmp_path_factory.mktemp("models"), seed=0)


@pytest.fixture(scope="module")
def tokenizer(tiny_dir: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_dir)


def test_directory_is_laid_out_as_on_the_hub_and_loads_with_stock_classes(tiny_dir: Path) -> None:
    assert {path.name for path in tiny_dir.iterdir()} == HUB_FILES
    assert {oct(path.stat().st_mode & 0o777) for path in tiny_dir.iterdir()} == {
        oct((tiny_dir / "config.json").stat().st_mode & 0o777)
    }
    model = AutoModelForImageTextToText.from_pretrained(tiny_dir)
    assert isinstance(model, Qwen3VLForConditionalGeneration)
    assert model.lm_head.weight is model.model.language_model.embed_tokens.weight
    assert 5e5 < sum(p.numel() for p in model.parameters()) < 2e6
    config = AutoConfig.from_pretrained(tiny_dir)
    side = config.vision_config.patch_size * config.vision_config.spatial_merge_size
    assert side == 16 and len(config.vision_config.deepstack_visual_indexes) <= config.text_config.num_hidden_layers


def test_tokens_of_config_tokenizer_and_template_agree(tiny_dir: Path, tokenizer: Any) -> None:
    config = json.loads((tiny_dir / "config.json").read_text())
    named = {key: tokenizer.convert_ids_to_tokens(value) for key, value in config.items() if key.endswith("token_id")}
    assert named == {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    generation = json.loads((tiny_dir / "generation_config.json").read_text())
    assert tokenizer.convert_ids_to_tokens(generation["eos_token_id"]) == ["<|im_end|>", "<|endoftext|>"]
    assert tokenizer.eos_token == "<|im_end|>" and tokenizer.pad_token == "<|endoftext|>"
    assert config["text_config"]["vocab_size"] == len(tokenizer)


def test_words_of_the_task_are_tokens_and_digits_stay_single(tokenizer: Any) -> None:
    assert tokenizer.tokenize("12.05") == ["1", "2", ".", "0", "5"]
    assert tokenizer.tokenize("assistant\n") == ["assistant", "Ċ"]
    assert len(tokenizer("Distance in metres at (12, 34) of 100?").input_ids) <= 20
    assert tokenizer.decode(tokenizer("Wände, 墙, 🧱\x00").input_ids) == "Wände, 墙, 🧱\x00"
    for token in (*SPECIAL, *ADDED):
        assert len(tokenizer(token).input_ids) == 1
    kept = tokenizer.decode(tokenizer("".join((*SPECIAL, *ADDED))).input_ids, skip_special_tokens=True)
    assert kept == "".join(ADDED)


def test_template_marks_videos_and_numbers_pictures_when_asked(tokenizer: Any) -> None:
    content = [{"type": "image"}, {"type": "video"}, {"image_url": "x"}, {"type": "text", "text": " Both? "}]
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]
    vision = "<|vision_start|><|{}_pad|><|vision_end|>"
    image, video = vision.format("image"), vision.format("video")
    assert tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        f"<|im_start|>user\n{image}{video}{image} Both? <|im_end|>\n<|im_start|>assistant\n"
    )
    numbered = tokenizer.apply_chat_template(said, tokenize=False, add_vision_id=True)
    assert f"Picture 1: {image}Video 1: {video}Picture 2: {image} Both? " in numbered


@pytest.mark.floats
def test_same_seed_gives_the_same_bytes_in_another_process(tiny_dir: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from vlm3.models.load import ModelConfig, resolve_model;"
        "print(resolve_model(ModelConfig(), Path(sys.argv[1]), seed=0))"
    )
    # Two at once into the same folder: one of them publishes, both end well.
    racing = [
        subprocess.Popen(
            [sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True, env=_environment()
        )
        for _ in range(2)
    ]
    printed = [process.communicate(timeout=120)[0].strip() for process in racing]
    assert [process.returncode for process in racing] == [0, 0]
    assert printed[0] == printed[1] == str(tmp_path / tiny_dir.name)
    assert [path.name for path in tmp_path.iterdir()] == [tiny_dir.name], "temporary folders are removed"
    assert digests(Path(printed[0])) == digests(tiny_dir)


def _environment() -> dict[str, str]:
    import os

    platform = Path(__file__).resolve().parents[3] / "platform"
    return {**os.environ, "PYTHONPATH": str(platform), "PYTHONHASHSEED": "random"}


def test_another_seed_or_size_is_another_model_and_an_existing_one_is_kept(tiny_dir: Path, tmp_path: Path) -> None:
    other = resolve_model(ModelConfig(), tmp_path, seed=1)
    assert other.name != tiny_dir.name
    found, expected = digests(other), digests(tiny_dir)
    assert {name for name in found if found[name] != expected[name]} == {"model.safetensors"}
    wide = TinyConfig(text_hidden=64)
    assert wide.fingerprint(0, ()) != TinyConfig().fingerprint(0, ())
    (other / "config.json").write_text("mine")
    assert resolve_model(ModelConfig(), tmp_path, seed=1) == other and (other / "config.json").read_text() == "mine"


def test_building_leaves_torchs_random_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build_tiny(tmp_path / "model", TinyConfig(text_hidden=32, vision_hidden=32), 0, shipped_corpus())
    assert torch.equal(torch.rand(3), expected)


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def corpus() -> Iterator[str]:
        yield "Distance"
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        build_tiny(tmp_path / "model", TinyConfig(), 0, corpus())
    assert not list(tmp_path.iterdir())


def test_an_odd_number_of_text_heads_is_refused() -> None:
    with pytest.raises(ConfigError, match="text_heads: 5 heads cannot share keys by twos"):
        TinyConfig.parse({"text_hidden": 160, "text_heads": 5}, "tiny")


@pytest.mark.parametrize("key", ["text_heads", "vision_heads"])
def test_heads_that_do_not_fill_the_width_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}: 7 heads"):
        TinyConfig.parse({key: 7}, "recipe")


def test_stock_image_processor_reads_the_presets_bounds(tiny_dir: Path) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processor = Qwen2VLImageProcessorPil.from_pretrained(tiny_dir)
    for height, width in ((112, 160), (32, 32), (512, 512), (16, 64)):
        grid = processor(images=[np.zeros((height, width, 3), np.uint8)])["image_grid_thw"]
        assert grid.tolist() == [[1, height // 8, width // 8]], "its resize is the identity on the grid"
