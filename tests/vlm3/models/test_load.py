"""What a recipe's model.id may be, and what is said when it cannot be had."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from vlm3.errors import ConfigError
from vlm3.models.load import ModelConfig, load_model, resolve_model
from vlm3.tracking.registry import resolve


@pytest.fixture(scope="module")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return resolve_model(ModelConfig(), tmp_path_factory.mktemp("models"), seed=0)


def run(program: str, hub_home: Path) -> subprocess.CompletedProcess[str]:
    """A process without network whose Hugging Face cache is in `hub_home`."""
    platform = Path(__file__).resolve().parents[3] / "platform"
    environment = {**os.environ, "PYTHONPATH": str(platform), "HF_HUB_OFFLINE": "1", "HF_HOME": str(hub_home)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_local_directory_is_taken_as_it_is(tiny_dir: Path, tmp_path: Path) -> None:
    assert resolve_model(ModelConfig(id=str(tiny_dir)), tmp_path, seed=9) == tiny_dir.resolve()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["./no/such/folder", "/no/such", "tinny", "Qwen/Qwen3 VL", "a/b/c"])
def test_what_is_neither_directory_nor_hub_id_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="no such directory; expected 'tiny'"):
        resolve_model(ModelConfig(id=name), tmp_path, seed=0)


def test_hub_id_without_a_network_is_one_clear_line(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from vlm3.job import run_job; from vlm3.models.load import *;"
        "run_job(lambda: print(resolve_model(ModelConfig(id='Qwen/Qwen3-VL-4B-Instruct'), Path('.'), 0)))"
    )
    done = run(program, tmp_path)
    assert done.returncode == 2
    message = done.stderr.strip().splitlines()
    assert len(message) == 1 and "the hub cannot be reached" in message[0] and "give the directory" in message[0]


def test_hub_id_in_the_cache_needs_no_network(tiny_dir: Path, tmp_path: Path) -> None:
    """The layout that huggingface_hub itself writes: snapshots named by commit, a reference to the newest."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--some-one--tiny-vl"
    shutil.copytree(tiny_dir, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    program = (
        "from pathlib import Path; from vlm3.models.load import *;"
        "print(resolve_model(ModelConfig(id='some-one/tiny-vl'), Path('.'), 0))"
    )
    done = run(program, tmp_path)
    assert done.stdout.strip() == str(repository / "snapshots" / commit), done.stderr


def with_config(tiny_dir: Path, folder: Path, **extra: Any) -> Path:
    """The tiny model with more in its config.json, or in its text model's."""
    shutil.copytree(tiny_dir, folder)
    config = json.loads((folder / "config.json").read_text())
    (config["text_config"] if extra.pop("nested", False) else config).update(extra)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("method", ["fp8", "awq", "gptq", "compressed-tensors", "bitsandbytes"])
@pytest.mark.parametrize("nested", [False, True])
def test_quantized_weights_are_refused_at_once_with_the_right_advice(
    tiny_dir: Path, tmp_path: Path, method: str, nested: bool
) -> None:
    model = with_config(tiny_dir, tmp_path / "model", nested=nested, quantization_config={"quant_method": method})
    for refuses in (
        lambda: resolve_model(ModelConfig(id=str(model)), tmp_path, seed=0),
        lambda: load_model(model, ModelConfig()),
        lambda: resolve(str(model), "sqlite:////none.db", tmp_path),
    ):
        with pytest.raises(
            ConfigError, match=rf"quantized weights \({method}\) cannot be trained: give the bf16 model"
        ):
            refuses()


def test_a_quantization_that_is_null_is_none(tiny_dir: Path, tmp_path: Path) -> None:
    model = with_config(tiny_dir, tmp_path / "model", quantization_config=None)
    assert resolve_model(ModelConfig(id=str(model)), tmp_path, seed=0) == model


def test_a_quantized_hub_model_is_refused_before_its_weights_are_looked_for(tiny_dir: Path, tmp_path: Path) -> None:
    """The cache has its config.json alone, and there is no network."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--some-one--tiny-fp8"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    model = with_config(tiny_dir, repository / "snapshots" / commit, quantization_config={"quant_method": "fp8"})
    (model / "model.safetensors").unlink()
    program = (
        "from pathlib import Path; from vlm3.job import run_job; from vlm3.models.load import *;"
        "run_job(lambda: print(resolve_model(ModelConfig(id='some-one/tiny-fp8'), Path('.'), 0)))"
    )
    done = run(program, tmp_path)
    assert done.returncode == 2 and "quantized weights (fp8)" in done.stderr


@pytest.mark.parametrize("config", [False, True], ids=["alone", "with the base's config"])
def test_an_adapter_is_to_be_merged_first(tiny_dir: Path, tmp_path: Path, config: bool) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    for name in ("tokenizer.json", *(["config.json"] if config else [])):
        shutil.copy(tiny_dir / name, adapter)
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    save_file({"lora_A.weight": torch.zeros(1)}, adapter / "adapter_model.safetensors")
    for refuses in (
        lambda: resolve_model(ModelConfig(id=str(adapter)), tmp_path, seed=0),
        lambda: load_model(adapter, ModelConfig()),
        lambda: resolve(str(adapter), "sqlite:////none.db", tmp_path),
    ):
        with pytest.raises(ConfigError, match="a LoRA adapter: merge it into its base model first"):
            refuses()


def test_frozen_parts_and_dtype_and_checkpointing_are_applied(tiny_dir: Path) -> None:
    model = load_model(
        tiny_dir, ModelConfig(dtype="bfloat16", gradient_checkpointing=True, freeze=("vision", "language"))
    )
    assert model.training and {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert all(layer.gradient_checkpointing for layer in model.model.language_model.layers)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained and all(name.startswith("model.visual.") and "merger" in name for name in trained)
    assert all(p.requires_grad for p in load_model(tiny_dir, ModelConfig()).parameters())


def test_other_models_and_damaged_directories_are_refused(tiny_dir: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "qwen3"}')
    for refuses in (
        lambda: load_model(other, ModelConfig()),
        lambda: resolve_model(ModelConfig(id=str(other)), tmp_path, seed=0),
    ):
        with pytest.raises(ConfigError, match="type 'qwen3'; expected 'qwen3_vl'"):
            refuses()
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_model(tmp_path / "absent", ModelConfig())
    headless = tmp_path / "headless"
    shutil.copytree(tiny_dir, headless, ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_model(headless, ModelConfig())
    weights = load_file(tiny_dir / "model.safetensors")
    del weights["model.visual.pos_embed.weight"]
    save_file(weights, headless / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"1 weights are missing, model.visual.pos_embed.weight"):
        load_model(headless, ModelConfig())
    (headless / "model.safetensors").write_bytes((tiny_dir / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_model(headless, ModelConfig())
