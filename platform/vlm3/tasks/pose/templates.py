"""Wordings of the pose questions."""

from functools import partial
from typing import Self

from pydantic import model_validator

from vlm3.asking.patterns import Pattern, check_groups, groups_of
from vlm3.asking.templates import TaskTemplates
from vlm3.asking.wordings import FAR_M, FOCAL, Wordings, check_fields, check_length, check_read, fields_of
from vlm3.config import StrictModel
from vlm3.geometry.rotation import YawPitchRoll
from vlm3.tasks.pose.parsing import Direction, Vector, read_angle, read_direction, read_turns


class PoseWordings(StrictModel):
    """Wordings of one question about the motion between two cameras."""

    questions: Wordings
    """Without fields, except that the one about metres may use {focal}; evaluation uses the first."""
    answer: str
    """Form of the answer, with Python formats of its numbers, e.g. {degrees:.1f}."""
    pattern: Pattern | None = None
    """Finds the answer by its groups; default: the answer is read strictly."""


class PoseTemplates(TaskTemplates):
    """Wordings of the pose questions, all about camera 2 in the frame of camera 1."""

    FIELD = "pose"
    angle: PoseWordings
    """By how much camera 2 is turned. Field and group: {degrees}."""
    turns: PoseWordings
    """How camera 2 is turned. Fields and groups: {yaw}, {pitch}, {roll} in degrees."""
    direction: PoseWordings
    """Where camera 2 has moved. Fields and groups: the unit vector {x}, {y}, {z}: right, down, forward; and optionally
    {words}."""
    distance: PoseWordings
    """How far camera 2 has moved. Field: {metres}; groups: `value` and optionally `unit`."""

    @model_validator(mode="after")
    def _read_back(self) -> Self:
        for asked in (self.angle, self.turns, self.direction, self.distance):
            for wording in asked.questions:
                check_fields(wording, set(), FOCAL if asked is self.distance else frozenset())
        self._check_angles()
        self._check_direction()
        check_length(self.distance.answer, self.distance.pattern)
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

    def forms(self) -> tuple[str, ...]:
        """Forms of the answers to all four questions."""
        return (self.angle.answer, self.turns.answer, self.direction.answer, self.distance.answer)

    def lengths(self) -> tuple[tuple[str, str, str | None], ...]:
        """The answer about the distance, which is a length."""
        return (("distance.answer", self.distance.answer.format(metres=FAR_M), self.distance.pattern),)
