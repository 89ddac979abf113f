"""`vlm3.json`, the file beside a model's weights that says how the model must be asked."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from vlm3.asking.spec import FILE, AskSpec
from vlm3.config import StrictModel, load_yaml
from vlm3.errors import ConfigError
from vlm3.tasks import SCORED, TASKS
from vlm3.tasks.template_sets import check_templates

VERSION = 2


class _SpecFile(StrictModel):
    schema_version: Literal[2] = 2
    answer_tokens: Annotated[int, Field(ge=1, le=65536)] | None = None


_FIELDS: dict[str, Any] = {room.asked.task: (room.asked | None, None) for room in TASKS}
_FILE: type[_SpecFile] = create_model("AskSpec", __base__=_SpecFile, **_FIELDS)
"""A key for each task, null where the model was not trained on it."""


def parse_spec(data: object, where: str) -> AskSpec:
    """A spec from plain data.

    Raises:
        ConfigError: a key is wrong; the message names the first such key.
    """
    found = _FILE.parse(data, where)
    parts = tuple(part for room in TASKS if (part := getattr(found, room.asked.task)) is not None)
    for part in parts:
        check_templates(part.ask.templates)
    return AskSpec(parts, found.answer_tokens)


def spec_json(spec: AskSpec) -> str:
    """Text of the file for a spec."""
    parts: dict[str, Any] = dict.fromkeys(room.asked.task for room in TASKS)
    parts |= {part.task: part.model_dump(mode="json") for part in spec.parts}
    return json.dumps({"schema_version": VERSION, **parts, "answer_tokens": spec.answer_tokens}, indent=2) + "\n"


def spec_of_every_task() -> AskSpec:
    """The default configuration of every scored task, for models that were not trained here."""
    return AskSpec(tuple(room.asked.parse({}, room.asked.task) for room in SCORED.values()))


def read_spec(directory: Path) -> AskSpec:
    """Read the file in a model directory.

    Raises:
        ConfigError: the file is missing, or not what this version writes.
    """
    path = directory / FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file; expected a model exported by this platform; the file says how to ask it"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not readable as JSON: {error}") from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version not in (None, VERSION):
        raise ConfigError(f"{path}: schema_version {version}, expected {VERSION}: export the model with this version")
    return parse_spec(data, str(path))


def read_spec_yaml(path: Path) -> AskSpec:
    """Read a spec that a user wrote in YAML for a model that was trained elsewhere.

    Raises:
        ConfigError: no such file, or a wrong key.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; expected YAML that says how to ask each task (docs/evaluation.md)")
    return parse_spec(load_yaml(path), str(path))
