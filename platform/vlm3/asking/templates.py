"""Template sets: the wordings of questions and the forms of answers, versioned, in YAML."""

from collections.abc import Iterable
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, create_model, model_validator

from vlm3.asking.answer_tags import Tags, check_tags, extracted, wrapped
from vlm3.asking.numbers import read_length
from vlm3.asking.patterns import MAX_ANSWER_CHARACTERS
from vlm3.asking.protocol import ParseFailure
from vlm3.asking.wordings import literals_of
from vlm3.config import StrictModel, load_yaml
from vlm3.errors import ConfigError, nearest

FOLDER = resources.files("vlm3.asking") / "templates"
PartT = TypeVar("PartT", bound="TaskTemplates")
LEAST_SPARE_TOKENS = 16
"""Fewest tokens to spare: for the end of the turn, and for a unit, white space or a word that is not the set's own."""
THOUGHT_TOKENS = 1024
"""Number of tokens to spare for the text inside think tags."""


class TaskTemplates(StrictModel):
    """Base of a set's part for one task; evaluation and serving use the first wording of each question."""

    FIELD: ClassVar[str]
    """Name of the task, and of the set's field that holds the part."""

    def forms(self) -> tuple[str, ...]:
        """Forms of the task's answers; none of them may contain a tag of the set."""
        return ()

    def lengths(self) -> tuple[tuple[str, str, str | None], ...]:
        """Field, long example and pattern of each answer that is a length: a set must read its own thousands."""
        return ()

    def examples(self) -> tuple[str, ...]:
        """Examples of complete questions: the tiny preset takes its words from those of all tasks."""
        return ()


class TemplateSet(StrictModel):
    """One set of wordings: fields for all tasks together, and a part for each task under the task's name."""

    model_config = ConfigDict(extra="allow")
    name: str
    version: Annotated[int, Field(ge=1)]
    system: str | None
    """System prompt, null for none."""
    answer_tags: Tags | None = None
    """Opening and closing tag around each answer, e.g. ["<answer>", "</answer>"]; default: none."""
    think_tags: Tags | None = None
    """Opening and closing tag around thinking before an answer; thinking is not read, and never trained on."""
    thousands: bool = False
    """Read `1,234.5` as 1234.5 where a length is expected."""

    def wrap(self, answer: str) -> str:
        """An answer as it is trained on: inside the answer tags."""
        return wrapped(answer, self.answer_tags)

    def extract(self, text: str) -> str:
        """The answer in a model's text. Raises ParseFailure as `vlm3.asking.answer_tags.extracted`."""
        return extracted(text, self.answer_tags, self.think_tags)

    def answer_tokens(self, answers: Iterable[str], pattern: str | None = None) -> int:
        """Number of tokens that is enough for each of some answers, tags included: a bound on what a model may write.

        A token is at least one byte of text, whatever the tokenizer, so bytes are counted, with half as many to spare.

        Args:
            answers: the longest answers of the set, without tags.
            pattern: reads the answers, if given; it may match longer sentences than the set's own.
        """
        longest = max(len(self.wrap(answer).encode()) for answer in answers)
        if pattern is not None:
            longest = max(longest, MAX_ANSWER_CHARACTERS)
        thoughts = THOUGHT_TOKENS if self.think_tags else 0
        return longest + max(LEAST_SPARE_TOKENS, longest // 2) + thoughts

    def part(self, kind: type[PartT]) -> PartT:
        """A task's part of the set, checked.

        Raises:
            ConfigError: the set lacks the part, or something in it is wrong.
        """
        part = self.checked.get(kind.FIELD)
        if part is None:
            plain = self.parts().get(kind.FIELD)
            if plain is None:
                raise ConfigError(f"template set {self.name!r} lacks the field {kind.FIELD}, which the task needs")
            part = getattr(_alone(kind).parse({kind.FIELD: plain}, self.where), kind.FIELD)
            self._check(part)
            self.checked[kind.FIELD] = part
        assert isinstance(part, kind)
        return part

    @cached_property
    def where(self) -> str:
        """File or name, for messages."""
        return f"template set {self.name!r}"

    @cached_property
    def checked(self) -> dict[str, TaskTemplates]:
        """Parts that have been checked, by name of the task."""
        return {}

    def parts(self) -> dict[str, Any]:
        """What the set holds for each task, as plain data; not checked."""
        return {name: plain for name, plain in (self.model_extra or {}).items() if plain is not None}

    def __copy__(self) -> Self:
        """A copy that forgets which parts were checked, since it may be given other parts."""
        copied = super().__copy__()
        copied.__dict__.pop("checked", None)
        return copied

    def _check(self, part: TaskTemplates) -> None:
        for tag in (self.answer_tags or ()) + (self.think_tags or ()):
            for form in part.forms():
                if any(tag in text for text in literals_of(form)):
                    raise ConfigError(
                        f"{self.where}: {part.FIELD}: answer {form!r} holds the tag {tag!r}, which is put around it by"
                        " itself"
                    )
        for field, printed, pattern in part.lengths():
            try:
                read_length(printed, pattern, self.thousands)
            except ParseFailure as failure:
                raise ConfigError(
                    f"{self.where}: {part.FIELD}.{field} gives {printed!r}: set thousands: true ({failure})"
                ) from None

    @model_validator(mode="after")
    def _tags(self) -> Self:
        check_tags(self.answer_tags, self.think_tags)
        return self


@lru_cache(maxsize=16)
def load_templates(name: str) -> TemplateSet:
    """The shipped set with this name.

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
    found = TemplateSet.parse(load_yaml(path), str(path))
    # Not a field: sets with equal wordings are equal, wherever their files are.
    found.__dict__["where"] = str(path)
    return found


def checked_templates(given: object) -> object:
    """A shipped set's name unchanged; a path replaced by the set in its file, which travels with the configuration.

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
"""Field of a configuration: name of a shipped set, path of a YAML file, or a whole set."""


def template_set(given: str | TemplateSet) -> TemplateSet:
    """The set that a configuration names or holds. Raises as `load_templates`."""
    return load_templates(given) if isinstance(given, str) else given


@lru_cache
def _alone(kind: type[TaskTemplates]) -> type[StrictModel]:
    """A set with this part only, so that errors name a field by its place in a set."""
    fields: dict[str, Any] = {kind.FIELD: (kind, ...)}
    return create_model("TemplateSet", __base__=StrictModel, **fields)
