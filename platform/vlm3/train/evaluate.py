"""Answers about held-out frames during training, through the same code that serves answers."""

from collections.abc import Iterator

import numpy as np

from vlm3.asking.predictor import Predictor
from vlm3.asking.tables import AnswerTable
from vlm3.errors import DataError
from vlm3.evaluation.answering import answering_rooms, check_shown
from vlm3.log import get_logger
from vlm3.scenes.schema import Frame
from vlm3.scenes.sharded import DEPTH_COLUMNS, ShardedSource
from vlm3.storage.split import Split
from vlm3.tasks import IN_LOOP

log = get_logger(__name__)
MOST_READS = 4
"""Clips that are read in a round for each frame that is wanted, if many have no labelled frame left."""


def held_out_frames(source: ShardedSource, images: int) -> Iterator[Frame]:
    """Yield up to `images` different labelled frames of the held-out split, spread evenly over its clips."""
    clips = source.clips(Split.EVAL)
    seen: set[tuple[str, str]] = set()
    wanted = min(images, source.frames(Split.EVAL))
    # One frame per clip at first; more of a clip only if the split has too few clips.
    count, most = min(clips, wanted), min(clips, MOST_READS * wanted)
    while len(seen) < wanted:
        found = len(seen)
        for index in np.unique(np.linspace(0, clips - 1, count).round().astype(int)):
            frames = source.read_clip(Split.EVAL, int(index), DEPTH_COLUMNS)
            new = next((f for f in frames if (f.scene, f.frame) not in seen and len(f.points)), None)
            if new is not None:
                seen.add((new.scene, new.frame))
                yield new
            if len(seen) == wanted:
                return
        if len(seen) > found:
            count = min(clips, wanted - len(seen))
        elif count < most:
            # The clips of this round have nothing left: look at more of them.
            count = min(2 * count, most)
        else:
            return


def image_id(frame: Frame) -> str:
    """Name of a frame that is unique over all sources."""
    return f"{frame.source}/{frame.scene}/{frame.frame}"


def ask_frame(predictor: Predictor, frame: Frame, points: int, seed: int) -> AnswerTable:
    """Ask about `points` seeded random labels of a frame; labels that cannot be asked about are marked so.

    Args:
        predictor: a model that can answer the task evaluated during training.
        frame: a frame with labelled points.
        points: largest number of labels to ask about.
        seed: seed of the choice of labels.

    Raises:
        DataError: the image cannot be read.
    """
    item = IN_LOOP.held_out_item(image_id(frame), frame, points, seed)
    try:
        check_shown(item, predictor.ask, predictor.model.bounds)
    except DataError as error:
        log.warning("%s: not asked about: %s", item.id, error)
        return IN_LOOP.outside(item)
    room, asked = answering_rooms(predictor.ask)[IN_LOOP.table.task]
    answers = room.answer(predictor, asked, item)
    return IN_LOOP.outside(item) if answers is None else answers
