"""Millions of names in memory: compressed in pieces, of which only one is decompressed to look at a name."""

import zlib
from collections.abc import Iterator, Sequence

PIECE = 256
"""Names per piece: decompressing one takes about 10 µs, and larger pieces hardly save bytes per name."""
_END = "\0"


class PackedText:
    """A sequence of strings that are much alike, e.g. paths of shards, and are seldom looked at."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Pack them.

        Raises:
            ValueError: a string holds a NUL character.
        """
        if any(_END in text for text in texts):
            raise ValueError("a name holds a NUL character")
        self._length = len(texts)
        self._pieces = [
            zlib.compress(_END.join(texts[start : start + PIECE]).encode()) for start in range(0, len(texts), PIECE)
        ]

    def __len__(self) -> int:
        """Number of strings."""
        return self._length

    def __getitem__(self, number: int) -> str:
        """The string with this number. Raises IndexError where there is none."""
        if not 0 <= number < self._length:
            raise IndexError(f"name {number} of {self._length}")
        piece, place = divmod(number, PIECE)
        return self._opened(piece)[place]

    def __iter__(self) -> Iterator[str]:
        """All strings in order, with one decompressed piece in memory at a time."""
        for piece in range(len(self._pieces)):
            yield from self._opened(piece)

    @property
    def nbytes(self) -> int:
        """Bytes of all compressed pieces."""
        return sum(map(len, self._pieces))

    def _opened(self, piece: int) -> list[str]:
        return zlib.decompress(self._pieces[piece]).decode().split(_END)
