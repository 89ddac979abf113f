"""Millions of names in memory: compressed in pieces, of which one is opened to look at a name."""

import zlib
from collections.abc import Iterator, Sequence

PIECE = 256
"""Names a piece; it is opened in some 10 µs, and larger ones are hardly smaller by name."""
_END = "\0"


class PackedText:
    """Strings that are much alike, such as the paths of shards, and are seldom looked at."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Pack them.

        Raises:
            ValueError: one holds a NUL character.
        """
        if any(_END in text for text in texts):
            raise ValueError("a name holds a NUL character")
        self._length = len(texts)
        self._pieces = [
            zlib.compress(_END.join(texts[start : start + PIECE]).encode()) for start in range(0, len(texts), PIECE)
        ]

    def __len__(self) -> int:
        """How many there are."""
        return self._length

    def __getitem__(self, number: int) -> str:
        """One of them. Raises IndexError."""
        if not 0 <= number < self._length:
            raise IndexError(f"name {number} of {self._length}")
        piece, place = divmod(number, PIECE)
        return self._opened(piece)[place]

    def __iter__(self) -> Iterator[str]:
        """All in order, a piece in memory at a time."""
        for piece in range(len(self._pieces)):
            yield from self._opened(piece)

    @property
    def nbytes(self) -> int:
        """Of all pieces."""
        return sum(map(len, self._pieces))

    def _opened(self, piece: int) -> list[str]:
        return zlib.decompress(self._pieces[piece]).decode().split(_END)
