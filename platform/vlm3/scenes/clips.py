"""Clips, the groups of frames that are stored together and drawn from together; and the split of scenes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vlm3.scenes.covisible import LINKED, covisibility_graph
from vlm3.scenes.schema import Frame
from vlm3.seeds import derive_seed, generator
from vlm3.storage.split import Split

LINKED_SHARE = 0.5
"""Share of a clip's pairs that should be linked."""


FrameIndices = tuple[int, ...]
"""Frames by their index in the sequence they were chosen from."""


def split_of_scene(source: str, scene: str, heldout_share: float, seed: int) -> Split:
    """The split of a whole scene, by a hash of its name: it does not change when other scenes are added."""
    return Split.EVAL if derive_seed(seed, "split", source, scene) / 2**64 < heldout_share else Split.TRAIN


def posed_clips(frames: Sequence[Frame], clip_frames: int, seed: int) -> tuple[FrameIndices, ...]:
    """Clips of one scene by seeded greedy growth on the covisibility graph.

    A clip starts at a frame that is in none yet and takes, one by one, the frame farthest from those it has (which
    spreads the baselines) among those that leave half of its pairs linked; frames that are in no clip yet come first.
    Where none does, the best linked one is taken: in a scene of few links a clip falls short of half. A frame
    may sit in several clips, so that all have the same number of frames and nothing is left over.

    Args:
        frames: frames of one scene, all with a pose, in the order of time.
        clip_frames: frames of a clip; fewer only where the scene has fewer.
        seed: decides the order in which clips are started.
    """
    if not frames:
        return ()
    linked = covisibility_graph(frames) > LINKED
    centers = np.array([frame.world_T_cam[:3, 3] for frame in frames if frame.world_T_cam is not None])
    baselines = np.linalg.norm(centers[:, None] - centers[None], axis=-1)
    free = np.ones(len(frames), bool)
    clips = []
    for start in generator(seed, "clips").permutation(len(frames)):
        if free[start]:
            members = _grow(int(start), linked, baselines, free, min(clip_frames, len(frames)))
            free[members] = False
            clips.append(tuple(members))
    return tuple(clips)


def single_view_clips(scene_of_frame: Sequence[str], clip_frames: int, seed: int) -> tuple[FrameIndices, ...]:
    """Clips that gather frames of different scenes; every frame is in exactly one, sizes differ by at most one.

    Args:
        scene_of_frame: name of each frame's scene, all of one split.
        clip_frames: least number of frames of a clip, if there are so many; the remainder is spread over all clips.
        seed: decides the shuffle.
    """
    if not scene_of_frame:
        return ()
    rng = generator(seed, "single views")
    count = max(1, len(scene_of_frame) // clip_frames)
    names = sorted(set(scene_of_frame))
    rank = dict(zip(names, rng.permutation(len(names)).tolist(), strict=True))
    # Frames of one scene follow each other and are dealt like cards, so they end up in different clips.
    shuffled = rng.permutation(len(scene_of_frame))
    order = sorted(shuffled.tolist(), key=lambda index: rank[scene_of_frame[index]])
    return tuple(tuple(order[first::count]) for first in range(count))


def _grow(
    start: int, linked: NDArray[np.bool_], baselines: NDArray[np.float64], free: NDArray[np.bool_], size: int
) -> list[int]:
    members, links = [start], 0
    while len(members) < size:
        gained = linked[:, members].sum(axis=1)
        spread = baselines[:, members].min(axis=1)
        open_to = np.ones(len(free), bool)
        open_to[members] = False
        pairs = (len(members) + 1) * len(members) // 2
        fits = open_to & (links + gained >= LINKED_SHARE * pairs)
        if fits.any():
            pool = fits & free if (fits & free).any() else fits
            chosen = int(np.where(pool, spread, -1.0).argmax())
        else:
            # Too few links left: add the frame with most links, so that the clip may still reach half in the end.
            chosen = int(np.lexsort((-spread, free, gained, open_to))[-1])
        members.append(chosen)
        links += int(gained[chosen])
    return members
