"""Wordings of the questions about objects; the twelve relations are words that fill a few forms."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from vlm3.asking.numbers import read_length
from vlm3.asking.templates import TaskTemplates
from vlm3.asking.wordings import FAR_M, check_fields, check_read
from vlm3.config import StrictModel
from vlm3.tasks.objects.parsing import read_choice, read_clock

Word = Annotated[str, Field(min_length=1)]


class Relations(StrictModel):
    """Words that fill {relation}, each different from the others."""

    below: Word
    above: Word
    left: Word
    right: Word
    big: Word
    small: Word
    tall: Word
    short: Word
    wide: Word
    thin: Word
    behind: Word
    front: Word

    @model_validator(mode="after")
    def _different(self) -> Self:
        words = [getattr(self, name) for name in type(self).model_fields]
        twice = sorted({word for word in words if words.count(word) > 1})
        if twice:
            raise ValueError(f"relations must differ, {twice} come more than once")
        return self


class ObjectWordings(StrictModel):
    """Wordings of one question about objects."""

    FIELDS: ClassVar[frozenset[str]] = frozenset({"first", "second", "n"})
    questions: Annotated[tuple[str, ...], Field(min_length=1)]
    """Each with the fields of `FIELDS`; evaluation uses the first."""

    @model_validator(mode="after")
    def _fields(self) -> Self:
        for wording in self.questions:
            check_fields(wording, set(self.FIELDS))
        return self


class PredicateWordings(ObjectWordings):
    """Whether the first object is in a relation to the second, answered with yes or no."""

    FIELDS: ClassVar[frozenset[str]] = frozenset({"first", "second", "relation", "n"})
    relations: Relations


class ChoiceWordings(PredicateWordings):
    """Which of two objects is in a relation to the other, answered with its region."""

    answer: str
    """Field: {number}, 1 or 2."""

    @model_validator(mode="after")
    def _read_back(self) -> Self:
        for number in (1, 2):
            check_fields(self.answer, {"number"})
            check_read(self.answer, {"number": number}, read_choice, number)
        return self


class GapWordings(ObjectWordings):
    """How far two objects are apart."""

    answer: str
    """Field: {metres}."""

    @model_validator(mode="after")
    def _read_back(self) -> Self:
        check_fields(self.answer, {"metres"})
        check_read(self.answer, {"metres": 2.5}, read_length, 2.5)
        return self


class SizeWordings(GapWordings):
    """How large one object is."""

    FIELDS: ClassVar[frozenset[str]] = frozenset({"first", "n"})


class ClockWordings(ObjectWordings):
    """In which direction the second object lies from the first, answered with an hour of the clock."""

    answer: str
    """Field: {hour}, 1 to 12."""

    @model_validator(mode="after")
    def _read_back(self) -> Self:
        for hour in range(1, 13):
            check_fields(self.answer, {"hour"})
            check_read(self.answer, {"hour": hour}, read_clock, hour)
        return self


class ObjectTemplates(TaskTemplates):
    """Wordings of the questions about objects, which are named by regions; evaluation uses the first of each."""

    FIELD = "objects"
    region: str
    """How a region is named: what fills {first} and {second}. Fields: {x0}, {y0}, {x1}, {y1}."""
    predicate: PredicateWordings
    choice: ChoiceWordings
    distance: GapWordings
    """Distance between the nearest points of two objects."""
    horizontal_distance: GapWordings
    """Distance between the centres of two objects, from left to right."""
    vertical_distance: GapWordings
    """Distance between the centres of two objects, from top to bottom."""
    width: SizeWordings
    """Size of one object from left to right."""
    height: SizeWordings
    """Size of one object from top to bottom."""
    direction: ClockWordings
    """Direction from the first object to the second; 12 o'clock is away from the camera."""

    def forms(self) -> tuple[str, ...]:
        """Forms of the answers to all questions but the predicate, which is answered with yes or no."""
        return (self.choice.answer, self.direction.answer, *(gap.answer for gap in self._gaps().values()))

    def lengths(self) -> tuple[tuple[str, str, str | None], ...]:
        """The answers about distances and sizes."""
        gaps = self._gaps().items()
        return tuple((f"{field}.answer", gap.answer.format(metres=FAR_M), None) for field, gap in gaps)

    def _gaps(self) -> dict[str, GapWordings]:
        return {
            "distance": self.distance,
            "horizontal_distance": self.horizontal_distance,
            "vertical_distance": self.vertical_distance,
            "width": self.width,
            "height": self.height,
        }

    @model_validator(mode="after")
    def _fields(self) -> Self:
        check_fields(self.region, {"x0", "y0", "x1", "y1"})
        return self
