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
"""For a unit, white space or another word than the set's own, beside the end of the turn."""
THOUGHT_TOKENS = 1024
"""For what stands inside think tags."""


class TaskTemplates(StrictModel):
    """Base of what a set holds for one task; of its questions, evaluation and serving use the first."""

    FIELD: ClassVar[str]
    """The task's name."""

    def forms(self) -> tuple[str, ...]:
        """Of its answers; none of them may hold a tag of the set."""
        return ()

    def lengths(self) -> tuple[tuple[str, str, str | None], ...]:
        """Field, long example and pattern of each answer that is a length: a set says how it writes thousands."""
        return ()

    def examples(self) -> tuple[str, ...]:
        """Questions as they are asked: the words of the tiny preset come from those of all tasks."""
        return ()


class TemplateSet(StrictModel):
    """One set of wordings: what holds for all tasks, and under the name of each what is its own."""

    model_config = ConfigDict(extra="allow")
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

    def wrap(self, answer: str) -> str:
        """An answer as it is trained on: inside the answer tags."""
        return wrapped(answer, self.answer_tags)

    def extract(self, text: str) -> str:
        """The answer in what a model wrote. Raises ParseFailure as `answer_form.said`."""
        return extracted(text, self.answer_tags, self.think_tags)

    def answer_tokens(self, answers: Iterable[str], pattern: str | None = None) -> int:
        """Tokens within which every one of some answers has ended, tags included: a bound on what a model may say.

        A token is at least one byte of text, whatever the tokenizer, so bytes are counted, with half as many to spare.

        Args:
            answers: the longest ones that the set writes, without tags.
            pattern: by which they are read, if by one: it may find its groups in longer sentences than the set's own.
        """
        longest = max(len(self.wrap(answer).encode()) for answer in answers)
        if pattern is not None:
            longest = max(longest, MAX_ANSWER_CHARACTERS)
        thoughts = THOUGHT_TOKENS if self.think_tags else 0
        return longest + max(LEAST_SPARE_TOKENS, longest // 2) + thoughts

    def part(self, kind: type[PartT]) -> PartT:
        """A task's wordings, which stand under its name.

        Raises:
            ConfigError: the set lacks them, or something is wrong with them.
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
        """Parts that were asked for."""
        return {}

    def parts(self) -> dict[str, Any]:
        """What the set holds for each task, as plain data; not checked."""
        return {name: plain for name, plain in (self.model_extra or {}).items() if plain is not None}

    def __copy__(self) -> Self:
        """A copy; it may be given other parts."""
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
    found = TemplateSet.parse(load_yaml(path), str(path))
    # No field: a set is the same wherever it stands.
    found.__dict__["where"] = str(path)
    return found


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


@lru_cache
def _alone(kind: type[TaskTemplates]) -> type[StrictModel]:
    """A set with this part only, so that what is wrong is named by its place in a set."""
    fields: dict[str, Any] = {kind.FIELD: (kind, ...)}
    return create_model("TemplateSet", __base__=StrictModel, **fields)
