"""Writes an export's config.json in the form of the source model's, so that readers of the source can read the export.

A newer transformers writes keys that older readers do not know (`rope_parameters` for `rope_theta` and `rope_scaling`).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONFIG = "config.json"


def keep_form(source_dir: Path, export_dir: Path) -> None:
    """Rewrite the export's config.json as the source's, except for the values in which the model differs.

    The file stays as the library wrote it if the source's form cannot express the same configuration.
    """
    source, written = _read(source_dir), _read(export_dir)
    if source == written:
        return
    kept = _in_form_of(source, _as_written(source_dir), written)
    _write(export_dir, kept)
    if _as_written(export_dir) != written:
        _write(export_dir, written)


def _in_form_of(source: Mapping[str, Any], same: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """`source` with the differences between `same`, which is `source` as the library writes it, and `written`."""
    kept = dict(source)
    for key in sorted(same.keys() | written.keys()):
        if key in same and key in written and same[key] == written[key]:
            continue
        # Before transformers 4.56, `dtype` was called `torch_dtype`.
        name = "torch_dtype" if key == "dtype" and "torch_dtype" in source else key
        if all(isinstance(form.get(key), Mapping) for form in (source, same, written)):
            kept[key] = _in_form_of(source[key], same[key], written[key])
        elif key in written:
            kept[name] = written[key]
        else:
            kept.pop(name, None)
    return kept


def _as_written(directory: Path) -> dict[str, Any]:
    """A directory's configuration as this version of the library writes it."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(directory, local_files_only=True)
    found: dict[str, Any] = json.loads(config.to_json_string())
    return found


def _read(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    return found


def _write(directory: Path, config: Mapping[str, Any]) -> None:
    (directory / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
