"""Template sets: the wordings of questions, versioned, in YAML."""

from functools import lru_cache
from importlib import resources
from pathlib import Path
from string import Formatter
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from vlm3.config import StrictModel, load_yaml
from vlm3.errors import ConfigError, nearest
from vlm3.tasks.protocol import ParseFailure
from vlm3.tasks.reading import read_place

FOLDER = resources.files("vlm3.tasks") / "templates"


def _check_fields(wording: str, wanted: set[str]) -> None:
    fields = {name for _, name, _, _ in Formatter().parse(wording) if name is not None}
    if fields != wanted:
        listed = " ".join(f"{{{name}}}" for name in sorted(wanted, key="xyn".index))
        raise ValueError(f"wording {wording!r} must use the fields {listed}, it uses {sorted(fields)}")


class DepthTemplates(StrictModel):
    """Wordings of the depth question; the first is the one that evaluation and serving use."""

    ray: Annotated[tuple[str, ...], Field(min_length=1)]
    """Asking for the distance from the camera to the point. Fields: {x}, {y}, {n}."""
    z: Annotated[tuple[str, ...], Field(min_length=1)]
    """Asking for the depth along the optical axis. Fields: {x}, {y}, {n}."""

    @model_validator(mode="after")
    def _fields(self) -> Self:
        for wording in (*self.ray, *self.z):
            _check_fields(wording, {"x", "y", "n"})
        return self


class CorrespondenceTemplates(StrictModel):
    """Wordings of the correspondence question; the first is the one that evaluation uses."""

    questions: Annotated[tuple[str, ...], Field(min_length=1)]
    """Where a point of image 1 is in image 2. Fields: {x}, {y}, {n}."""
    answer: str
    """The point in image 2. Fields: {x}, {y}; two numbers with a comma between, in parentheses or not."""

    @model_validator(mode="after")
    def _fields(self) -> Self:
        for wording in self.questions:
            _check_fields(wording, {"x", "y", "n"})
        _check_fields(self.answer, {"x", "y"})
        example = self.answer.format(x=12, y=7)
        try:
            understood = read_place(example) == (12, 7)
        except ParseFailure:
            understood = False
        if not understood:
            raise ValueError(f"answer {self.answer!r} gives {example!r}: expected '(12, 7)' or '12, 7' there")
        return self


class TemplateSet(StrictModel):
    """One set of wordings."""

    name: str
    version: Annotated[int, Field(ge=1)]
    system: str | None
    """System prompt, null for none."""
    depth: DepthTemplates
    correspondence: CorrespondenceTemplates | None = None
    """Needed where correspondence is asked about."""


@lru_cache(maxsize=16)
def load_templates(name: str) -> TemplateSet:
    """The set that ships under this name.

    Raises:
        ConfigError: no such set.
    """
    shipped = {Path(entry.name).stem: entry for entry in FOLDER.iterdir() if entry.name.endswith(".yaml")}
    if name not in shipped:
        raise ConfigError(f"no template set {name!r}{nearest(name, shipped)} (the path of your own must end in .yaml)")
    with resources.as_file(shipped[name]) as path:
        return read_templates(path)


def read_templates(path: Path) -> TemplateSet:
    """The set in a YAML file.

    Raises:
        ConfigError: no such file, or a set that lacks a field or has one too many (the field is named).
    """
    return TemplateSet.parse(load_yaml(path), str(path))


def checked_templates(given: object) -> object:
    """A shipped set's name as it is; a file's path as the set it holds, so that wordings travel with the configuration.

    Raises:
        ConfigError: as `load_templates` and `read_templates`.
    """
    if isinstance(given, dict):
        return TemplateSet.parse(given, "templates")
    if not isinstance(given, str):
        return given
    if given.endswith((".yaml", ".yml")):
        return read_templates(Path(given))
    load_templates(given)
    return given


Templates = Annotated[str | TemplateSet, BeforeValidator(checked_templates)]
"""In a configuration: name of a shipped set, path of a YAML file, or a whole set."""


def template_set(given: str | TemplateSet) -> TemplateSet:
    """The set that a configuration means: a shipped one by its name, or a whole set. Raises as `load_templates`."""
    return load_templates(given) if isinstance(given, str) else given
