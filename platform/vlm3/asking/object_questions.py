"""The questions about objects: two regions compared, or a quantity of one or two (SpatialRGPT, arXiv 2406.01584)."""

from enum import StrEnum


class Relation(StrEnum):
    """Relation of a first object to a second, as the camera sees them."""

    BELOW = "below"
    ABOVE = "above"
    LEFT = "left"
    RIGHT = "right"
    BIG = "big"
    SMALL = "small"
    TALL = "tall"
    SHORT = "short"
    WIDE = "wide"
    THIN = "thin"
    BEHIND = "behind"
    FRONT = "front"


class AnswerForm(StrEnum):
    """How a question is answered, and what number stands for its answer."""

    YES_NO = "yes or no"
    """1 for yes, 0 for no."""
    CHOICE = "region"
    """1 or 2: the first region or the second."""
    LENGTH = "length"
    """Metres."""
    CLOCK = "clock"
    """The hour, 1 … 12."""


class ObjectQuestion(StrEnum):
    """A question about one or two regions; values are the names of categories in SpatialRGPT-Bench.

    Of the choices, that benchmark has only below, above, left, right, tall and short; the others are named alike.
    """

    BELOW = "below_predicate"
    ABOVE = "above_predicate"
    LEFT = "left_predicate"
    RIGHT = "right_predicate"
    BIG = "big_predicate"
    SMALL = "small_predicate"
    TALL = "tall_predicate"
    SHORT = "short_predicate"
    WIDE = "wide_predicate"
    THIN = "thin_predicate"
    BEHIND = "behind_predicate"
    FRONT = "front_predicate"
    BELOW_CHOICE = "below_choice"
    ABOVE_CHOICE = "above_choice"
    LEFT_CHOICE = "left_choice"
    RIGHT_CHOICE = "right_choice"
    BIG_CHOICE = "big_choice"
    SMALL_CHOICE = "small_choice"
    TALL_CHOICE = "tall_choice"
    SHORT_CHOICE = "short_choice"
    WIDE_CHOICE = "wide_choice"
    THIN_CHOICE = "thin_choice"
    BEHIND_CHOICE = "behind_choice"
    FRONT_CHOICE = "front_choice"
    DISTANCE = "distance_data"
    """Distance between the nearest points of the two boxes."""
    HORIZONTAL_DISTANCE = "horizontal_distance_data"
    """|Δx| of the centres."""
    VERTICAL_DISTANCE = "vertical_distance_data"
    """|Δy| of the centres."""
    WIDTH = "width_data"
    """Extent along x."""
    HEIGHT = "height_data"
    """Extent along y."""
    DIRECTION = "direction"
    """Direction from the first centre to the second, in the x–z plane."""

    @property
    def form(self) -> AnswerForm:
        """How the question is answered."""
        if self is ObjectQuestion.DIRECTION:
            return AnswerForm.CLOCK
        ending = self.value.rpartition("_")[2]
        return {"predicate": AnswerForm.YES_NO, "choice": AnswerForm.CHOICE, "data": AnswerForm.LENGTH}[ending]

    @property
    def relation(self) -> Relation:
        """The relation that a predicate or a choice asks about.

        Raises:
            ValueError: the question asks for a quantity.
        """
        return Relation(self.value.rpartition("_")[0])

    @property
    def objects(self) -> int:
        """Number of regions that the question names: 1 or 2."""
        return 1 if self in (ObjectQuestion.WIDTH, ObjectQuestion.HEIGHT) else 2

    @property
    def subject(self) -> str:
        """What the question is about: questions of one subject on the same objects give each other's answers away."""
        compared = self.form in (AnswerForm.YES_NO, AnswerForm.CHOICE)
        return COMPARED[self.relation][0].value if compared else self.value


class Compared(StrEnum):
    """The quantity of each object that a relation compares."""

    X = "x"
    Y = "y"
    NEAREST_Z = "nearest z"
    WIDTH = "width"
    HEIGHT = "height"
    VOLUME = "volume"


COMPARED = {
    Relation.BELOW: (Compared.Y, 1),
    Relation.ABOVE: (Compared.Y, -1),
    Relation.LEFT: (Compared.X, -1),
    Relation.RIGHT: (Compared.X, 1),
    Relation.BIG: (Compared.VOLUME, 1),
    Relation.SMALL: (Compared.VOLUME, -1),
    Relation.TALL: (Compared.HEIGHT, 1),
    Relation.SHORT: (Compared.HEIGHT, -1),
    Relation.WIDE: (Compared.WIDTH, 1),
    Relation.THIN: (Compared.WIDTH, -1),
    Relation.BEHIND: (Compared.NEAREST_Z, 1),
    Relation.FRONT: (Compared.NEAREST_Z, -1),
}
"""Relation → what is compared, and whether the first object must have more of it (1) or less (−1)."""
