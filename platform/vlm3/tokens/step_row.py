"""One sample as it travels to the trainer. No torch here: processes that only read and decode data import this."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class StepRow:
    """One sample of the training stream."""

    position: int
    """Position in the stream, which is the only identity of a sample."""
    component: int
    """Index of the mixture component it was drawn from."""
    attempt: int
    """0, or which replacement of an unusable sample this is."""
    input_ids: NDArray[np.int32]
    """(L,) tokens of the whole conversation."""
    loss_mask: NDArray[np.bool_]
    """(L,) True on answers and their end-of-turn tokens."""
    images: tuple[NDArray[np.uint8], ...]
    """The view, or views 1 and 2 of a pair, each (H, W, 3) RGB on the token grid."""
