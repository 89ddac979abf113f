"""Wordings of the depth questions."""

from typing import Self

from pydantic import model_validator

from vlm3.asking.patterns import Pattern
from vlm3.asking.templates import TaskTemplates
from vlm3.asking.wordings import FAR_M, FOCAL, SOME_NUMBERS, Wordings, check_fields, check_length
from vlm3.config import StrictModel
from vlm3.geometry.depth import DepthKind


class DepthWordings(StrictModel):
    """Wordings by the kind of depth; the first is the one that evaluation and serving use."""

    ray: Wordings
    """Asking for the distance from the camera to the point."""
    z: Wordings
    """Asking for the depth along the optical axis."""

    def of(self, kind: DepthKind) -> tuple[str, ...]:
        """Wordings that ask for this kind of depth."""
        return self.ray if kind is DepthKind.RAY else self.z


class MarkerTemplates(DepthWordings):
    """Wordings of the question about the tip of an arrow in the image. Optional field: {focal}."""

    @model_validator(mode="after")
    def _fields(self) -> Self:
        for wording in (*self.ray, *self.z):
            check_fields(wording, frozenset(), FOCAL)
        return self


class DepthTemplates(DepthWordings, TaskTemplates):
    """Wordings of the depth question. Fields: {x}, {y}, {n}, and optionally {focal}."""

    FIELD = "depth"
    answer: str = "{metres}"
    """Field: {metres}, either bare, with the decimals of the task's configuration, or with a format of its own."""
    pattern: Pattern | None = None
    """Finds the answer by its groups `value` and, where it has one, `unit`; default: one length and nothing else."""
    follow_up: str | None = None
    """Wording of the questions after the first one about an image, if they need not repeat what is asked for. Fields:
    {x}, {y}, and optionally {n} and {focal}. A question that is asked alone is worded as the first one."""
    marker: MarkerTemplates | None = None
    """Wordings for the task in which an arrow marks the point; only that task needs them."""

    def format_answer(self, metres: float, decimals: int) -> str:
        """The answer without tags; `decimals` are used where the form has no format of its own."""
        return self.answer.replace("{metres}", f"{{metres:.{decimals}f}}").format(metres=metres)

    @model_validator(mode="after")
    def _fields(self) -> Self:
        for wording in (*self.ray, *self.z):
            check_fields(wording, {"x", "y", "n"}, FOCAL)
        if self.follow_up is not None:
            check_fields(self.follow_up, {"x", "y"}, FOCAL | {"n"})
        # Only the default decimals are checked here; a task checks its own.
        check_length(self.answer.replace("{metres}", "{metres:.2f}"), self.pattern)
        return self

    def forms(self) -> tuple[str, ...]:
        """The one form of answer."""
        return (self.answer,)

    def lengths(self) -> tuple[tuple[str, str, str | None], ...]:
        """The answer, which is a length."""
        return (("answer", self.format_answer(FAR_M, 2), self.pattern),)

    def examples(self) -> tuple[str, ...]:
        """Every wording at some places of the image."""
        places = [(x, y, n) for x in SOME_NUMBERS for y in SOME_NUMBERS for n in (100, 2000)]
        wordings = (*self.ray, *self.z)
        return tuple(wording.format(x=x, y=y, n=n, focal=1000) for wording in wordings for x, y, n in places)
