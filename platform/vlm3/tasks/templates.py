"""Template sets: the wordings of questions and the forms of answers, versioned, in YAML."""

from collections.abc import Iterable
from functools import lru_cache, partial
from importlib import resources
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from vlm3.config import StrictModel, load_yaml
from vlm3.errors import ConfigError, nearest
from vlm3.geometry.depth import DepthKind
from vlm3.geometry.rotation import YawPitchRoll
from vlm3.tasks.answer_form import Tags, check_tags, said, written
from vlm3.tasks.patterns import MAX_ANSWER_CHARACTERS, Pattern, check_groups, groups_of
from vlm3.tasks.protocol import ParseFailure
from vlm3.tasks.reading import read_length, read_place
from vlm3.tasks.reading_pose import Direction, Vector, read_angle, read_direction, read_turns
from vlm3.tasks.templates_objects import ObjectTemplates
from vlm3.tasks.wordings import FOCAL, Wordings, check_fields, check_read, fields_of, literals_of

FOLDER = resources.files("vlm3.tasks") / "templates"
PartT = TypeVar("PartT")
NEAR_M, FAR_M = 2.0, 3000.0
"""Lengths that forms of answers are tried on: any precision prints them whole, and the far one shows thousands."""
LONG_M = (FAR_M, FAR_M / 9, 1 / 30_000)
"""Lengths that print long: whole metres, digits without a format, and an exponent."""
LEAST_SPARE_TOKENS = 16
"""For a unit, white space or another word than the set's own, beside the end of the turn."""
THOUGHT_TOKENS = 1024
"""For what stands inside think tags."""


class DepthWordings(StrictModel):
    """Wordings by the kind of depth; the first is the one that evaluation and serving use."""

    ray: Wordings
    """Asking for the distance from the camera to the point."""
    z: Wordings
    """Asking for the depth along the optical axis."""

    def of(self, kind: DepthKind) -> tuple[str, ...]:
        """Those that ask for this kind."""
        return self.ray if kind is DepthKind.RAY else self.z


class MarkerTemplates(DepthWordings):
    """Wordings of the question about the tip of an arrow in the image. Field: {focal} where wanted."""

    @model_validator(mode="after")
    def _fields(self) -> Self:
        for wording in (*self.ray, *self.z):
            check_fields(wording, frozenset(), FOCAL)
        return self


class DepthTemplates(DepthWordings):
    """Wordings of the depth question. Fields: {x}, {y}, {n}, and {focal} where wanted."""

    answer: str = "{metres}"
    """Field: {metres}, by itself with the decimals of the task's configuration, or with a format of its own."""
    pattern: Pattern | None = None
    """Finds the answer by its groups `value` and, where it has one, `unit`; default: one length and nothing else."""
    marker: MarkerTemplates | None = None
    """Needed where an arrow marks the point."""

    def says(self, metres: float, decimals: int) -> str:
        """The answer without tags; `decimals` count where the form has no format of its own."""
        return self.answer.replace("{metres}", f"{{metres:.{decimals}f}}").format(metres=metres)

    @model_validator(mode="after")
    def _fields(self) -> Self:
        for wording in (*self.ray, *self.z):
            check_fields(wording, {"x", "y", "n"}, FOCAL)
        # The usual decimals; a task checks its own.
        _check_length(self.answer.replace("{metres}", "{metres:.2f}"), self.pattern)
        return self


class CorrespondenceTemplates(StrictModel):
    """Wordings of the correspondence question; the first is the one that evaluation uses."""

    questions: Wordings
    """Where a point of image 1 is in image 2. Fields: {x}, {y}, {n}."""
    answer: str
    """The point in image 2. Fields: {x}, {y}; without a pattern two numbers with a comma between, in parentheses or
    not."""
    pattern: Pattern | None = None
    """Finds the answer by its groups `x` and `y`."""

    @model_validator(mode="after")
    def _fields(self) -> Self:
        for wording in self.questions:
            check_fields(wording, {"x", "y", "n"})
        check_fields(self.answer, {"x", "y"})
        check_groups(self.pattern, {"x", "y"})
        check_read(self.answer, {"x": 12, "y": 7}, partial(read_place, pattern=self.pattern), (12, 7))
        return self


class PoseWordings(StrictModel):
    """One question about the motion between two cameras."""

    questions: Wordings
    """Without fields, except that the one about metres may use {focal}; the first is the one that evaluation uses."""
    answer: str
    """With Python's format of the numbers, e.g. {degrees:.1f}."""
    pattern: Pattern | None = None
    """Finds the answer by groups; default: the strict reading of it."""


class PoseTemplates(StrictModel):
    """Wordings of the pose questions, all of camera 2 as camera 1 sees it."""

    angle: PoseWordings
    """By how much it is turned. Field and group: {degrees}."""
    turns: PoseWordings
    """How it is turned. Fields and groups: {yaw}, {pitch}, {roll} in degrees."""
    direction: PoseWordings
    """Where it has moved. Fields and groups: the unit vector {x}, {y}, {z}: right, down, forward; and {words} where
    wanted."""
    distance: PoseWordings
    """How far it has moved. Field: {metres}; groups: `value` and, where wanted, `unit`."""

    @model_validator(mode="after")
    def _read_back(self) -> Self:
        for asked in (self.angle, self.turns, self.direction, self.distance):
            for wording in asked.questions:
                check_fields(wording, set(), FOCAL if asked is self.distance else frozenset())
        self._check_angles()
        self._check_direction()
        _check_length(self.distance.answer, self.distance.pattern)
        return self

    def _check_angles(self) -> None:
        check_fields(self.angle.answer, {"degrees"})
        check_groups(self.angle.pattern, {"degrees"})
        check_read(self.angle.answer, {"degrees": 12.5}, partial(read_angle, pattern=self.angle.pattern), 12.5)
        turns = {"yaw": 12.5, "pitch": -3.5, "roll": 0.5}
        check_fields(self.turns.answer, turns.keys())
        check_groups(self.turns.pattern, turns.keys())
        read = partial(read_turns, pattern=self.turns.pattern)
        check_read(self.turns.answer, turns, read, YawPitchRoll(*turns.values()))

    def _check_direction(self) -> None:
        answer, pattern = self.direction.answer, self.direction.pattern
        check_fields(answer, {"x", "y", "z"}, {"words"})
        check_groups(pattern, {"x", "y", "z"}, {"words"})
        vector = {"x": -0.6, "y": 0.0, "z": 0.8}
        worded = "words" in fields_of(answer) and (pattern is None or "words" in groups_of(pattern))
        moved = Direction(frozenset({"left", "forward"} if worded else ()), Vector(**vector))
        check_read(answer, {"words": "left, forward", **vector}, partial(read_direction, pattern=pattern), moved)


def _check_length(answer: str, pattern: str | None) -> None:
    check_fields(answer, {"metres"})
    check_groups(pattern, {"value"}, {"unit"})
    for metres in (NEAR_M, FAR_M):
        # Commas between thousands are the set's to allow.
        check_read(answer, {"metres": metres}, partial(read_length, pattern=pattern, thousands=True), metres)


class TemplateSet(StrictModel):
    """One set of wordings."""

    name: str
    version: Annotated[int, Field(ge=1)]
    system: str | None
    """System prompt, null for none."""
    answer_tags: Tags | None = None
    """Opening and closing tag around each answer, e.g. ["<answer>", "</answer>"]; default: none."""
    think_tags: Tags | None = None
    """Opening and closing tag around text before an answer that is not read; it is never trained on."""
    thousands: bool = False
    """Read `1,234.5` as 1234.5 where a length is expected."""
    depth: DepthTemplates
    correspondence: CorrespondenceTemplates | None = None
    """Needed where correspondence is asked about."""
    pose: PoseTemplates | None = None
    """Needed where poses are asked about."""
    objects: ObjectTemplates | None = None
    """Needed where objects are asked about."""

    def written(self, answer: str) -> str:
        """An answer as it is trained on: inside the answer tags."""
        return written(answer, self.answer_tags)

    def said(self, text: str) -> str:
        """The answer in what a model wrote. Raises ParseFailure as `answer_form.said`."""
        return said(text, self.answer_tags, self.think_tags)

    def answer_tokens(self, answers: Iterable[str], pattern: str | None = None) -> int:
        """Tokens within which every one of some answers has ended, tags included: a bound on what a model may say.

        A token is at least one byte of text, whatever the tokenizer, so bytes are counted, with half as many to spare.

        Args:
            answers: the longest ones that the set writes, without tags.
            pattern: by which they are read, if by one: it may find its groups in longer sentences than the set's own.
        """
        longest = max(len(self.written(answer).encode()) for answer in answers)
        if pattern is not None:
            longest = max(longest, MAX_ANSWER_CHARACTERS)
        thoughts = THOUGHT_TOKENS if self.think_tags else 0
        return longest + max(LEAST_SPARE_TOKENS, longest // 2) + thoughts

    def needed(self, part: PartT | None, field: str) -> PartT:
        """`part`, which is this set's field `field`.

        Raises:
            ConfigError: the set lacks it.
        """
        if part is None:
            raise ConfigError(f"template set {self.name!r} lacks the field {field}, which the task needs")
        return part

    @model_validator(mode="after")
    def _tags_and_thousands(self) -> Self:
        check_tags(self.answer_tags, self.think_tags)
        answers = [self.depth.answer]
        lengths = [("depth", self.depth.says(FAR_M, 2), self.depth.pattern)]
        if self.correspondence is not None:
            answers.append(self.correspondence.answer)
        if self.pose is not None:
            distance = self.pose.distance
            answers += [self.pose.angle.answer, self.pose.turns.answer, self.pose.direction.answer, distance.answer]
            lengths.append(("pose.distance", distance.answer.format(metres=FAR_M), distance.pattern))
        for tag in (self.answer_tags or ()) + (self.think_tags or ()):
            for answer in answers:
                if any(tag in text for text in literals_of(answer)):
                    raise ValueError(f"answer {answer!r} holds the tag {tag!r}, which is put around it by itself")
        for field, printed, pattern in lengths:
            try:
                read_length(printed, pattern, self.thousands)
            except ParseFailure as failure:
                raise ValueError(f"{field}.answer gives {printed!r}: set thousands: true ({failure})") from None
        return self


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
