"""Intervals that keep their promise: those of a model's own probabilities, moved by what held-out truth says of them.

Conformalised quantile regression (Romano, Patterson and Candès, NeurIPS 2019) in log metres: on answers whose truth is
known, how far in log metres must the model's interval at a level grow, so that this share of the truths lies inside? A
negative margin shrinks it. The promise holds on average, for images like those it was made from.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from vlm3.asking.number_form import Spread
from vlm3.config import StrictModel
from vlm3.errors import ConfigError

FILE = "intervals.json"
"""Name of the file with the calibration, beside a model's weights."""
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
LEAST_ANSWERS = 50
"""With fewer held-out answers the outer levels would rest on two or three of them."""
Level = Annotated[float, Field(ge=LEVELS[0], le=LEVELS[-1])]


class Calibration(StrictModel):
    """How far the model's own intervals are moved, by level."""

    schema_version: Literal[1] = 1
    levels: tuple[Level, ...]
    margins_log_m: tuple[float, ...]
    """Added to both ends, outwards, in log metres."""
    answers: int
    """Number of held-out answers it rests on."""
    images: int

    @model_validator(mode="after")
    def _one_margin_a_level(self) -> Self:
        if len(self.levels) != len(self.margins_log_m) or list(self.levels) != sorted(set(self.levels)):
            raise ValueError("expected ascending levels, and a margin for each")
        return self

    def interval_m(self, spread: Spread, level: float) -> tuple[float, float] | None:
        """The metres between which the truth lies with this probability; None where the model named no number."""
        if not len(spread.values):
            return None
        low, high = own_interval(spread, level)
        margin = float(np.interp(level, self.levels, self.margins_log_m))
        if low - margin > high + margin:
            # The margin shrinks a narrow interval to nothing.
            low = high = (low + high) / 2
            margin = 0.0
        return float(np.exp(low - margin)), float(np.exp(high + margin))


def own_interval(spread: Spread, level: float) -> tuple[float, float]:
    """The model's own interval, with as much probability below it as above, in log metres."""
    least = spread.step / 2
    low, high = (spread.quantile(share) for share in ((1 - level) / 2, (1 + level) / 2))
    return float(np.log(max(low, least))), float(np.log(max(high, least)))


def misses(spread: Spread, true_m: float) -> NDArray[np.float64]:
    """(levels,) how far the truth lies outside of the model's own interval, in log metres; negative inside."""
    true = np.log(true_m)
    intervals = (own_interval(spread, level) for level in LEVELS)
    return np.array([max(low - true, true - high) for low, high in intervals])


def fit(missed: NDArray[np.float64], images: int) -> Calibration | None:
    """The margins that would have kept each level's promise on these answers; None if they are too few.

    Args:
        missed: (N, levels) of `misses`.
        images: number of images that the answers are about.
    """
    count = len(missed)
    if count < LEAST_ANSWERS:
        return None
    # The share is a little larger than the level: one more answer is to come.
    margins = [
        float(np.quantile(missed[:, place], min(1.0, level * (count + 1) / count), method="higher"))
        for place, level in enumerate(LEVELS)
    ]
    return Calibration(levels=LEVELS, margins_log_m=tuple(margins), answers=count, images=images)


def calibration_file(calibration: Calibration | None) -> dict[str, str]:
    """Name and text of the file for a calibration; none where there is none."""
    return {} if calibration is None else {FILE: calibration.model_dump_json(indent=2) + "\n"}


def read_calibration(model_dir: Path) -> Calibration | None:
    """The calibration beside a model's weights; None where the export has none.

    Raises:
        ConfigError: the file cannot be read.
    """
    path = model_dir / FILE
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ConfigError(f"{path}: not a calibration of intervals: {error}") from None
