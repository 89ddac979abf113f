"""Depth at listed pixels in JSON lines, as iBims-1 and other sets are published for DepthLM."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vlm3.asking.items import Item
from vlm3.benchmarks.frames import depth_item, sound
from vlm3.errors import DataError
from vlm3.scenes.protocol import Rejection
from vlm3.sources.jsonl import JsonLinesReader


@dataclass(frozen=True, slots=True)
class DepthLines:
    """Depth labels in JSON lines; a row is a line."""

    name: str
    reader: JsonLinesReader

    @classmethod
    def open(cls, file: Path, name: str) -> Self:
        """Find the lines. Raises DataError as `JsonLinesReader.open`."""
        return cls(name, JsonLinesReader.open(file, name))

    def rows(self) -> tuple[str, ...]:
        """Names of the lines: those of their images."""
        return self.reader.scenes()

    def read(self, row: str) -> tuple[Item, ...]:
        """Depth at all pixels of a line. Raises DataError naming the line."""
        (frame,) = self.reader.frames(row)
        if isinstance(frame, Rejection):
            raise DataError(frame.reason)
        try:
            return (depth_item(row, row, sound(frame)),)
        except DataError as error:
            raise DataError(f"{self.reader.file.name} line {self.reader.lines[row].number}: {error}") from None

    def identity(self) -> str:
        """Hash of the labels and of the sizes of all images."""
        return self.reader.identity()
