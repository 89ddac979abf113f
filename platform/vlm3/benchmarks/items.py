"""What a benchmark is: named rows, each of which gives items."""

from typing import Protocol

from vlm3.asking.items import Item

MOST_POINTS = 50
"""Most points that are asked about in an image or pair whose depth image would give any number of them."""
FEWEST_SCENES = 10
"""With at least so many scenes the bootstrap draws scenes; with fewer, which would say little, it draws items."""


class Benchmark(Protocol):
    """A benchmark, opened. Picklable; pixels are read only when a row is read."""

    @property
    def name(self) -> str:
        """Name of the benchmark in tables and file names."""
        ...

    def rows(self) -> tuple[str, ...]:
        """Names of all rows, in order, each once; cheap."""
        ...

    def read(self, row: str) -> tuple[Item, ...]:
        """The items of a row: one for each kind of question that it can answer.

        Raises:
            DataError, ConfigError: the row is bad; the message says what was expected and found.
        """
        ...

    def identity(self) -> str:
        """A text that changes when the data change."""
        ...
