"""The two splits of a source."""

from enum import StrEnum


class Split(StrEnum):
    """Whole scenes belong to one split, never single frames."""

    TRAIN = "train"
    EVAL = "eval"
