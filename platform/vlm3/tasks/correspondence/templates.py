"""Wordings of the correspondence question."""

from functools import partial
from typing import Self

from pydantic import model_validator

from vlm3.asking.numbers import read_place
from vlm3.asking.patterns import Pattern, check_groups
from vlm3.asking.templates import TaskTemplates
from vlm3.asking.wordings import Wordings, check_fields, check_read


class CorrespondenceTemplates(TaskTemplates):
    """Wordings of the correspondence question; evaluation uses the first."""

    FIELD = "correspondence"
    questions: Wordings
    """They ask where a point of image 1 is in image 2. Fields: {x}, {y}, {n}."""
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

    def forms(self) -> tuple[str, ...]:
        """The one form of answer."""
        return (self.answer,)
