"""Rotary positions of joined rows, as the stock Qwen3-VL computes them for each row, for all rows at once in NumPy."""

import numpy as np
from numpy.typing import NDArray

AXES = 4
"""Text, time, height and width. The library finds the rows again by the first, which it drops before it rotates."""


def rotary_positions(
    visual: NDArray[np.bool_], lengths: NDArray[np.int64], grids: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Positions of the tokens of rows that stand one after the other.

    The first axis counts a row's tokens. On the others a text token is one step after the token before it; the tokens
    of an image share their time and count its rows and columns, and what follows is one step after the largest of them.

    Args:
        visual: (L,) True on visual tokens.
        lengths: (rows,) tokens of each row; they sum to L.
        grids: (images, 2) rows and columns of each image in visual tokens, in the order of the images.

    Returns:
        (4, L) text, time, height and width; each row starts at 0.

    Raises:
        ValueError: the images have more or fewer tokens than there are visual tokens.
    """
    sizes = grids.prod(1)
    if sizes.sum() != visual.sum():
        raise ValueError(f"{visual.sum()} visual tokens for images of {sizes.tolist()}")
    first = np.repeat(np.cumsum(lengths) - lengths, lengths)
    # How far the position moves on after each token: after an image's last one only, by its longer side.
    steps = (~visual).astype(np.int64)
    places = np.flatnonzero(visual)
    steps[places[np.cumsum(sizes) - 1]] = grids.max(1)
    reached = np.cumsum(steps) - steps
    positions = np.empty((AXES, len(visual)), np.int64)
    positions[0] = np.arange(len(visual)) - first
    positions[1:] = reached - reached[first]
    inside = np.arange(len(places)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows, columns = np.divmod(inside, np.repeat(grids[:, 1], sizes))
    positions[2, places] += rows
    positions[3, places] += columns
    return positions
