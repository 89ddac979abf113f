"""Where the number stands in an answer, and how likely a model holds each number to be."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

EXAMPLES = (0.0, 0.5, 3.25, 47.0, 812.125)
_NUMBER = re.compile(r"[0-9]+(?:\.(?P<decimals>[0-9]+))?")


@dataclass(frozen=True, slots=True)
class NumberForm:
    """Answers that are one number of metres with a fixed number of decimals, and fixed text around it."""

    before: str
    decimals: int

    @classmethod
    def of(cls, write: Callable[[float], str]) -> Self | None:
        """The form in which a task writes its answers; None where they are of another form.

        Args:
            write: the answer, tags included, that states so many metres.
        """
        found = _NUMBER.search(write(EXAMPLES[0]))
        if found is None:
            return None
        before, after = write(EXAMPLES[0])[: found.start()], write(EXAMPLES[0])[found.end() :]
        decimals = len(found["decimals"] or "")
        plain = all(write(metres) == f"{before}{metres:.{decimals}f}{after}" for metres in EXAMPLES)
        return cls(before, decimals) if plain else None


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """The numbers that a model may have answered, as far as each way to them is likely enough."""

    values: NDArray[np.float64]
    """(K,) in metres, ascending; may be none."""
    probabilities: NDArray[np.float64]
    """(K,) of each, by the model; their sum is less than 1."""
    readable: float
    """Probability that the model writes a number in its form, whichever it is."""
    step: float
    """Distance between neighbouring numbers, in metres: a value stands for all that is rounded to it."""

    def quantile(self, share: float) -> float:
        """Metres below which this share of the probability lies; NaN where there are no values."""
        if not len(self.values):
            return float("nan")
        sums = np.cumsum(self.probabilities) / self.probabilities.sum()
        place = min(int(np.searchsorted(sums, share)), len(sums) - 1)
        below = sums[place - 1] if place else 0.0
        part = (share - below) / max(sums[place] - below, 1e-12)
        return max(0.0, float(self.values[place] + self.step * (min(part, 1.0) - 0.5)))
