"""The image pairs of a clip: which of its frames see the same things, and how far their cameras differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from vlm3.scenes.covisible import LINKED, covisibility_graph
from vlm3.scenes.schema import Frame


@dataclass(frozen=True, slots=True)
class FramePair:
    """Two frames of a clip, with first < second."""

    first: int
    """Index in the clip, as is `second`."""
    second: int
    overlap: float
    """Symmetric covisibility in [0, 1]."""
    baseline_m: float
    """Distance between the camera centres."""
    rotation_deg: float
    """Angle of the rotation between the cameras, in [0, 180]."""
    pose_only: bool
    """True if no point of one frame can be looked for in the other: see `corresponds`."""


def clip_pairs(frames: Sequence[Frame], min_overlap: float = LINKED) -> tuple[FramePair, ...]:
    """All pairs of frames of a clip that overlap enough, by geometry alone: no image is decoded.

    Overlap is measured by depth where both frames have a small depth map, else by their frusta
    (`vlm3.scenes.covisible`). Between different times of a dynamic scene, moved surfaces disagree and so do not count.

    Args:
        frames: frames of a clip; only posed frames of the same scene make a pair.
        min_overlap: overlap that a pair must exceed (0.25: VLM3, arXiv 2605.30561, pairs).

    Returns:
        Pairs in ascending order of (first, second); empty for clips of single views.
    """
    posed = [index for index, frame in enumerate(frames) if frame.world_T_cam is not None]
    posed.sort(key=lambda index: (frames[index].source, frames[index].scene, index))
    pairs: list[FramePair] = []
    for _, members in groupby(posed, key=lambda index: (frames[index].source, frames[index].scene)):
        pairs += _scene_pairs(frames, list(members), min_overlap)
    return tuple(sorted(pairs, key=lambda pair: (pair.first, pair.second)))


def corresponds(frame1: Frame, frame2: Frame) -> bool:
    """Whether points of frame 1 can be looked for in frame 2, and points of frame 2 in frame 1.

    Both need labels to lift and a small depth map that shows occlusion. In a dynamic scene their times must be known
    and equal, as for the cameras of a rig.
    """
    deep = all(frame.small_depth is not None and len(frame.points) > 0 for frame in (frame1, frame2))
    still = not (frame1.dynamic or frame2.dynamic)
    return deep and (still or (frame1.time_s is not None and frame1.time_s == frame2.time_s))


def _scene_pairs(frames: Sequence[Frame], members: list[int], min_overlap: float) -> list[FramePair]:
    """Pairs among `members`, the indices of posed frames of one scene."""
    if len(members) < 2:
        return []
    overlap = covisibility_graph([frames[index] for index in members])
    poses = np.stack([pose for index in members if (pose := frames[index].world_T_cam) is not None])
    baseline_m, rotation_deg = _motion(poses)
    first, second = np.nonzero(np.triu(overlap > min_overlap, k=1))
    return [
        FramePair(
            members[i],
            members[j],
            float(overlap[i, j]),
            float(baseline_m[i, j]),
            float(rotation_deg[i, j]),
            not corresponds(frames[members[i]], frames[members[j]]),
        )
        for i, j in zip(first.tolist(), second.tolist(), strict=True)
    ]


def _motion(world_T_cam: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, n) distances between camera centres in metres and (n, n) rotation angles in degrees, for poses (n, 4, 4)."""
    centers, rotations = world_T_cam[:, :3, 3], world_T_cam[:, :3, :3]
    baseline_m = np.linalg.norm(centers[:, None] - centers[None], axis=-1)
    # |R1 − R2| = 2·√2·sin(angle / 2): unlike the trace, exact for small angles too.
    chord = np.linalg.norm(rotations[:, None] - rotations[None], axis=(-2, -1))
    return baseline_m, np.rad2deg(2 * np.arcsin(np.clip(chord / np.sqrt(8), 0, 1)))
