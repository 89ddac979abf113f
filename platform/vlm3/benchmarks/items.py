"""What a benchmark is: rows that name items."""

from typing import Protocol

from vlm3.asking.items import Item

MOST_POINTS = 50
"""Points of an image or pair that are asked about where its depth would give any number of them."""
FEWEST_SCENES = 10
"""From so many scenes on the bootstrap draws scenes; of fewer it would say little, and draws the items themselves."""


class Benchmark(Protocol):
    """A benchmark, opened. Picklable; pixels are read only when a row is read."""

    @property
    def name(self) -> str:
        """Used in tables and file names."""
        ...

    def rows(self) -> tuple[str, ...]:
        """Names of all rows, in order, each once; cheap."""
        ...

    def read(self, row: str) -> tuple[Item, ...]:
        """The items of a row: one for each kind of question that it can answer.

        Raises:
            DataError: the row is bad; the message names it and says what was expected and found.
        """
        ...

    def identity(self) -> str:
        """Changes when the data do."""
        ...
