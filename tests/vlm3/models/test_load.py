"""What a recipe's model.id may be, and what is said when it cannot be had."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from vlm3.errors import ConfigError
from vlm3.models.load import ModelConfig, load_model, resolve_model


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
    with pytest.raises(ConfigError, match="type 'qwen3'; expected 'qwen3_vl'"):
        load_model(other, ModelConfig())
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
