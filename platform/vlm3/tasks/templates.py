"""Template sets: the wordings of questions, versioned, in YAML."""

from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from vlm3.config import StrictModel, load_yaml
from vlm3.errors import ConfigError, nearest
from vlm3.geometry.rotation import YawPitchRoll
from vlm3.tasks.reading import read_length, read_place
from vlm3.tasks.reading_pose import Direction, Vector, read_angle, read_direction, read_turns
from vlm3.tasks.template_checks import check_fields as _check_fields
from vlm3.tasks.template_checks import check_read as _check_read
from vlm3.tasks.templates_objects import ObjectTemplates

FOLDER = resources.files("vlm3.tasks") / "templates"


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
        _check_read(self.answer, {"x": 12, "y": 7}, read_place, (12, 7))
        return self


class PoseWordings(StrictModel):
    """One question about the motion between two cameras."""

    questions: Annotated[tuple[str, ...], Field(min_length=1)]
    """Without fields; the first is the one that evaluation uses."""
    answer: str
    """With Python's format of the numbers, e.g. {degrees:.1f}."""


class PoseTemplates(StrictModel):
    """Wordings of the pose questions, all of camera 2 as camera 1 sees it."""

    angle: PoseWordings
    """By how much it is turned. Field: {degrees}."""
    turns: PoseWordings
    """How it is turned. Fields: {yaw}, {pitch}, {roll} in degrees."""
    direction: PoseWordings
    """Where it has moved. Fields: {words}, and the unit vector {x}, {y}, {z}: right, down, forward."""
    distance: PoseWordings
    """How far it has moved. Field: {metres}."""

    @model_validator(mode="after")
    def _read_back(self) -> Self:
        for asked in (self.angle, self.turns, self.direction, self.distance):
            for wording in asked.questions:
                _check_fields(wording, set())
        _check_read(self.angle.answer, {"degrees": 12.5}, read_angle, 12.5)
        turns = YawPitchRoll(12.5, -3.5, 0.5)
        _check_read(self.turns.answer, {"yaw": 12.5, "pitch": -3.5, "roll": 0.5}, read_turns, turns)
        moved = Direction(frozenset({"left", "forward"}), Vector(-0.6, 0.0, 0.8))
        _check_read(
            self.direction.answer, {"words": "left, forward", "x": -0.6, "y": 0.0, "z": 0.8}, read_direction, moved
        )
        _check_read(self.distance.answer, {"metres": 2.5}, read_length, 2.5)
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
    pose: PoseTemplates | None = None
    """Needed where poses are asked about."""
    objects: ObjectTemplates | None = None
    """Needed where objects are asked about."""


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
