"""An export loads with stock classes alone and has the same weights and logits."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoTokenizer

from vlm3.errors import UserError
from vlm3.models.export import export_model
from vlm3.models.load import ModelConfig, load_model, resolve_model
from vlm3.tokens.encode import ConversationEncoder
from vlm3.tokens.patches import patchify
from vlm3.tokens.vision import VisionSpec

EMBEDDING, HEAD = "model.language_model.embed_tokens.weight", "lm_head.weight"


@pytest.fixture(scope="module")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return resolve_model(ModelConfig(), tmp_path_factory.mktemp("models"), seed=0)


@pytest.fixture
def changed(tiny_dir: Path) -> Any:
    """The model with every weight moved, as training would."""
    model = load_model(tiny_dir, ModelConfig())
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model


def logits(model: Any, directory: Path) -> torch.Tensor:
    encoder, spec = ConversationEncoder.from_directory(directory), VisionSpec.from_directory(directory)
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    ids = torch.from_numpy(encoder.encode_question("Distance?", [(48, 64)])).long()[None]
    pixel_values, grid = patchify([torch.from_numpy(image)], spec)
    with torch.no_grad():
        output = model.eval()(
            input_ids=ids,
            mm_token_type_ids=(ids == spec.image_token_id).int(),
            pixel_values=pixel_values,
            image_grid_thw=grid,
        )
    found: torch.Tensor = output.logits
    return found


@pytest.mark.floats
@pytest.mark.parametrize("how", ["model", "state", "state without head"])
def test_export_loads_with_stock_classes_and_has_the_same_weights_and_logits(
    changed: Any, tiny_dir: Path, tmp_path: Path, how: str
) -> None:
    state = None if how == "model" else {name: tensor.clone() for name, tensor in changed.state_dict().items()}
    if state is not None:
        # An engine gathers tied weights as one tensor under two names.
        state[HEAD] = state[EMBEDDING]
        if how == "state without head":
            del state[HEAD]
    expected = logits(changed, tiny_dir)
    carrier = changed if state is None else load_model(tiny_dir, ModelConfig())
    out = export_model(carrier, state, tiny_dir, tmp_path / "export", {"vlm3.json": '{"focal_px": 70}'})
    loaded = AutoModelForImageTextToText.from_pretrained(out)
    weights, moved = loaded.state_dict(), changed.state_dict()
    assert weights.keys() == moved.keys()
    assert all(torch.equal(weights[name], moved[name]) for name in moved)
    # The same weights at other places in memory may round otherwise.
    torch.testing.assert_close(logits(loaded, out), expected, rtol=0, atol=1e-5 * expected.abs().max().item())
    assert loaded.lm_head.weight is loaded.model.language_model.embed_tokens.weight
    assert HEAD not in load_file(out / "model.safetensors"), "tied weights are stored once"
    assert AutoTokenizer.from_pretrained(out).chat_template == AutoTokenizer.from_pretrained(tiny_dir).chat_template


def test_files_training_does_not_change_are_copied_and_extra_files_added(
    changed: Any, tiny_dir: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(tiny_dir, source)
    (source / "README.md").write_text("not part of a model")
    out = export_model(changed, None, source, tmp_path / "export", {"vlm3.json": "{}", "LICENSE": "text"})
    names = {path.name for path in out.iterdir()}
    assert names == {path.name for path in tiny_dir.iterdir()} | {"vlm3.json", "LICENSE"}
    same = names - {"vlm3.json", "LICENSE", "config.json", "model.safetensors"}
    assert all((out / name).read_bytes() == (tiny_dir / name).read_bytes() for name in same)
    config, original = (json.loads((folder / "config.json").read_text()) for folder in (out, tiny_dir))
    assert config == original


@pytest.mark.parametrize("dtype", ["dtype", "torch_dtype"])
def test_config_keeps_the_form_of_an_older_source_and_says_what_changed(
    tiny_dir: Path, tmp_path: Path, dtype: str
) -> None:
    """The keys that transformers 4 writes and reads."""
    source = tmp_path / "source"
    shutil.copytree(tiny_dir, source)
    config = json.loads((source / "config.json").read_text())
    text, vision = config["text_config"], config["vision_config"]
    rope = text.pop("rope_parameters")
    text["rope_theta"], text["rope_scaling"] = rope.pop("rope_theta"), rope
    del vision["rope_parameters"], vision["dtype"], text["dtype"], config["dtype"]
    text[dtype], vision["model_type"], config["transformers_version"] = "bfloat16", "qwen3_vl", "4.57.0"
    (source / "config.json").write_text(json.dumps(config))
    model = load_model(source, ModelConfig())
    out = export_model(model, None, source, tmp_path / "export", {})
    written = json.loads((out / "config.json").read_text())
    assert written["text_config"] == text | {dtype: "float32"}
    assert {key: written["vision_config"][key] for key in vision} == vision
    assert {key: written[key] for key in config if not key.endswith("_config")} == {
        key: value for key, value in config.items() if not key.endswith("_config")
    }
    loaded = AutoModelForImageTextToText.from_pretrained(out, dtype="auto")
    assert loaded.dtype == torch.float32
    assert loaded.config.text_config.rope_parameters == model.config.text_config.rope_parameters


def test_an_older_export_is_replaced_whole_and_nothing_else_remains(
    changed: Any, tiny_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs" / "export"
    export_model(changed, None, tiny_dir, out, {"old.txt": "old"})
    export_model(changed, None, tiny_dir, out, {"new.txt": "new"})
    assert (out / "new.txt").is_file() and not (out / "old.txt").exists()
    assert [path.name for path in out.parent.iterdir()] == ["export"]


def test_a_folder_that_is_no_export_is_not_touched(changed: Any, tiny_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="not a model directory"):
        export_model(changed, None, tiny_dir, tmp_path, {})
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_failed_export_keeps_the_older_one(changed: Any, tiny_dir: Path, tmp_path: Path) -> None:
    out = export_model(changed, None, tiny_dir, tmp_path / "export", {"old.txt": "old"})
    with pytest.raises(OSError, match="No such file"):
        export_model(changed, None, tiny_dir, out, {"no/such/folder.txt": ""})
    assert (out / "old.txt").is_file() and [path.name for path in tmp_path.iterdir()] == ["export"]
