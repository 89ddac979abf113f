"""Choice of the frames of a source that are checked: a few groups spread over all of it, whatever its size."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from vlm3.errors import DataError
from vlm3.scenes.protocol import Rejection, SceneReader
from vlm3.scenes.rows import LIGHT_COLUMNS, POINT_COLUMNS
from vlm3.scenes.schema import Frame
from vlm3.scenes.sharded import ShardedSource
from vlm3.storage.failures import StorageError
from vlm3.storage.split import Split

COLUMNS = (*LIGHT_COLUMNS, *POINT_COLUMNS, "encoded_image", "small_depth", "boxes")
"""All columns but the full depth, which has most of the bytes and adds nothing to the checks."""
GROUP_FRAMES = 16
Group = tuple[Frame | Rejection, ...]
"""Frames that may see the same things."""


def spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` of the numbers from 0 to `count` - 1, spread evenly."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).astype(int)).tolist() if count else []


def chosen_clips(source: ShardedSource, split: Split, samples: int) -> list[int]:
    """Numbers of clips that hold about `samples` frames, spread over a split."""
    clips = source.clips(split)
    per_clip = max(1.0, source.frames(split) / max(clips, 1))
    return spread(clips, max(1, round(samples / per_clip)))


def clip_group(source: ShardedSource, split: Split, clip: int) -> Group:
    """The frames of a clip, or one rejection if the clip cannot be read.

    Raises:
        StorageError: the store does not answer.
    """
    try:
        return source.read_clip(split, clip, COLUMNS)
    except StorageError:
        raise
    # ValueError, TypeError: rows with a null or a number in the wrong place, which our own writers never make.
    except (DataError, ValueError, TypeError) as error:
        return (Rejection(source.name, f"clip {clip}", "all frames", str(error)),)


def reader_groups(reader: SceneReader, samples: int) -> Iterator[Group]:
    """Groups of frames of a foreign dataset: single views spread over all scenes, or the starts of some posed scenes.

    Readers give the frames of a scene only in order, so later frames of a long scene are not checked.
    """
    scenes = reader.scenes()
    if not reader.posed:
        chosen = [scenes[i] for i in spread(len(scenes), samples)]
        for first in range(0, len(chosen), GROUP_FRAMES):
            yield tuple(item for scene in chosen[first : first + GROUP_FRAMES] for item in reader.frames(scene))
        return
    chosen = [scenes[i] for i in spread(len(scenes), max(1, samples // GROUP_FRAMES))]
    for scene in chosen:
        yield from _chunks(tuple(islice(reader.frames(scene), max(2, samples // len(chosen)))))


def _chunks(items: Sequence[Frame | Rejection]) -> Iterator[Group]:
    """Split items into consecutive groups of about equal length, at most `GROUP_FRAMES` each."""
    count = max(1, -(-len(items) // GROUP_FRAMES))
    for chunk in np.array_split(np.arange(len(items)), count):
        yield tuple(items[i] for i in chunk)
