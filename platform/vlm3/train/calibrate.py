"""How sure a trained model may be: its intervals are calibrated on held-out frames before it is exported."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray

from vlm3.asking.calibration import LEVELS, Calibration, fit
from vlm3.asking.predictor import Predictor
from vlm3.errors import DataError
from vlm3.scenes.schema import Frame
from vlm3.seeds import derive_seed
from vlm3.tasks import IN_LOOP
from vlm3.train.evaluate import image_id

POINTS = 16
"""Labels asked about in each frame."""


def calibrate(
    predictor: Callable[[], AbstractContextManager[Predictor]], frames: Mapping[str, Sequence[Frame]], seed: int
) -> Calibration | None:
    """Ask about held-out frames and compare with the truth; all ranks call it, each with its share, and get the same.

    Args:
        predictor: gives the model.
        frames: this rank's frames, by source.
        seed: seed of the choice of labels.

    Returns:
        None where the model was not trained on depth, does not tell how likely its answers are, or too few labels are
        held out.
    """
    with predictor() as model:
        mine = [_missed(model, frame, seed) for part in frames.values() for frame in part]
    found = [missed for missed in _gather(mine) if len(missed)]
    return fit(np.concatenate(found), len(found)) if found else None


def _missed(predictor: Predictor, frame: Frame, seed: int) -> NDArray[np.float64]:
    item = IN_LOOP.held_out_item(image_id(frame), frame, POINTS, derive_seed(seed, "calibrate"))
    try:
        return IN_LOOP.misses(predictor, item)
    except DataError:
        # The evaluation has said so.
        return np.empty((0, len(LEVELS)))


def _gather(mine: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return mine
    parts: list[list[NDArray[np.float64]]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(parts, mine)
    return [missed for part in parts for missed in part]
