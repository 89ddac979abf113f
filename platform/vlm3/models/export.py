"""Exports a trained model as an ordinary Hugging Face directory, loadable without this package."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vlm3.errors import UserError
from vlm3.models.config_form import keep_form
from vlm3.models.quiet import no_progress_bars
from vlm3.storage.atomic import new_directory

COPIED = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
    "vocab.json",
)
"""Files that training does not change; each is copied if the source has it."""


def export_model(
    model: Any,
    state: Mapping[str, torch.Tensor] | None,
    source_dir: Path,
    out_dir: Path,
    extra_files: Mapping[str, str],
) -> Path:
    """Write weights, configuration (in the form of the source's), tokenizer and processor files.

    Args:
        model: the stock model; gives the configuration, and the weights if `state` is None.
        state: full weights under the model's own names, e.g. from a sharded engine. Tied weights are stored once.
        source_dir: directory of the model that the run started from; its tokenizer and processor files are copied byte
            by byte.
        out_dir: directory to write; it appears whole or not at all, and replaces an older export.
        extra_files: name and text of files to add, e.g. `vlm3.json`.

    Returns:
        `out_dir`.

    Raises:
        UserError: `out_dir` exists and is not an export.
    """
    if out_dir.exists() and not (out_dir / "config.json").is_file():
        raise UserError(f"{out_dir}: exists and is not a model directory; move it away or export elsewhere")
    with new_directory(out_dir, replace=True) as finished:
        with no_progress_bars():
            model.save_pretrained(finished, state_dict=None if state is None else dict(state))
        keep_form(source_dir, finished)
        for name in COPIED:
            if (source_dir / name).is_file():
                shutil.copyfile(source_dir / name, finished / name)
        for name, text in extra_files.items():
            (finished / name).write_text(text, encoding="utf-8")
    return out_dir
