"""Clips: the frames that are stored, read and drawn from together; and the split of scenes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlm3.geometry.camera import Camera
from vlm3.geometry.covisibility import frustum_overlap, symmetric_covisibility
from vlm3.geometry.rigid import relative
from vlm3.scenes.schema import Frame
from vlm3.seeds import derive_seed
from vlm3.storage.split import Split

COVISIBLE = 0.25
"""Pairs above it can be asked about together (VLM3, arXiv 2605.30561: random pairs with covisibility > 25 %)."""
CANDIDATES = 64
"""Neighbours of a frame, the nearest in pose, whose covisibility is worth computing: long sequences stay linear."""
TESTED_LONG_SIDE_PX = 80
"""Covisibility of ~5000 rays is exact enough to choose neighbours by."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames that make one row group."""

    members: tuple[int, ...]
    """Indices of the frames given."""
    covisible_share: float
    """Share of the clip's pairs above `COVISIBLE`; 0 without pairs."""
    median_baseline_m: float
    """Between the cameras of the covisible pairs; NaN without."""


def split_of_scene(source: str, scene: str, heldout_share: float, seed: int) -> Split:
    """The split of a whole scene, by a hash of its name: it never changes as scenes are added."""
    return Split.EVAL if derive_seed("split", seed, source, scene) / 2**64 < heldout_share else Split.TRAIN


def posed_clips(frames: Sequence[Frame], clip_frames: int, seed: int) -> tuple[Clip, ...]:
    """Clips of one posed scene, grown greedily on its covisibility graph.

    Each clip starts at a random frame that no clip holds yet and adds the frame that keeps most pairs covisible; among equals
    one that no clip holds, then the one farthest away, which spreads baselines. Every frame sits in a clip; the last clips
    borrow frames of others, so all have `clip_frames` members where the scene has as many.

    Args:
        frames: of one scene, all posed.
        clip_frames: members wanted.
        seed: of the order in which clips start.
    """
    size = min(clip_frames, len(frames))
    covisibility = covisibility_graph(frames)
    centres = np.array([frame.world_T_cam[:3, 3] for frame in frames if frame.world_T_cam is not None])
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    free = np.ones(len(frames), np.bool_)
    clips = []
    for start in np.random.default_rng(seed).permutation(len(frames)):
        if free[start]:
            members = _grow(int(start), size, covisibility > COVISIBLE, covisibility, apart, free)
            free[members] = False
            clips.append(_clip(members, covisibility, apart))
    return tuple(clips)


def single_view_clips(scene_of_frame: Sequence[str], clip_frames: int, seed: int) -> tuple[Clip, ...]:
    """Clips of a source without poses: as many different scenes in each as there are; the remainder joins the last clips.

    Args:
        scene_of_frame: scene of each frame.
        clip_frames: members wanted.
        seed: of the order.
    """
    rng = np.random.default_rng(seed)
    by_scene: dict[str, list[int]] = {}
    for index in rng.permutation(len(scene_of_frame)):
        by_scene.setdefault(scene_of_frame[index], []).append(int(index))
    # Frames of a scene lie one lap apart: neighbours in this order come from different scenes.
    laps = [members for lap in range(max(map(len, by_scene.values()), default=0)) for members in _lap(by_scene, lap)]
    count = max(1, len(laps) // clip_frames) if laps else 0
    bounds = np.linspace(0, len(laps), count + 1).round().astype(int)
    return tuple(
        Clip(tuple(laps[first:last]), 0.0, math.nan) for first, last in zip(bounds[:-1], bounds[1:], strict=True)
    )


def covisibility_graph(frames: Sequence[Frame]) -> NDArray[np.float64]:
    """(N, N) symmetric covisibility of posed frames; 0 where poses are too far apart to be worth testing.

    With depth maps occlusion counts; without, the overlap of the frusta stands in.
    """
    covisibility = np.eye(len(frames))
    views = [_small_view(frame) for frame in frames]
    for first, second in _candidates(frames):
        pose1, pose2 = frames[first].world_T_cam, frames[second].world_T_cam
        assert pose1 is not None and pose2 is not None
        cam1_T_cam2 = relative(pose1, pose2)
        (depth1, camera1), (depth2, camera2) = views[first], views[second]
        if frustum_overlap(camera1, camera2, cam1_T_cam2) == 0:
            continue
        if depth1 is None or depth2 is None:
            value = frustum_overlap(camera1, camera2, cam1_T_cam2)
        else:
            value = symmetric_covisibility(depth1, camera1, depth2, camera2, cam1_T_cam2)
        covisibility[first, second] = covisibility[second, first] = value
    return covisibility


def _candidates(frames: Sequence[Frame]) -> list[tuple[int, int]]:
    """Pairs of frames whose poses are among each other's nearest: a metre of distance weighs as much as 45 degrees."""
    poses = np.array([frame.world_T_cam for frame in frames])
    centres, axes = poses[:, :3, 3], poses[:, :3, 2]
    pairs: set[tuple[int, int]] = set()
    for index in range(len(frames)):
        turned = np.arccos(np.clip(axes @ axes[index], -1, 1)) / (np.pi / 4)
        distance = np.linalg.norm(centres - centres[index], axis=1) + turned
        for other in np.argsort(distance, kind="stable")[1 : CANDIDATES + 1]:
            pairs.add((min(index, int(other)), max(index, int(other))))
    return sorted(pairs)


def _small_view(frame: Frame) -> tuple[NDArray[np.float32] | None, Camera]:
    """The depth map thinned for the test, with its camera; the frame's own camera without one."""
    small = frame.small_depth
    if small is None:
        return None, frame.camera
    step = -(-max(small.z_depth_m.shape) // TESTED_LONG_SIDE_PX)
    thin = small.z_depth_m[::step, ::step]
    camera = Camera(
        thin.shape[1],
        thin.shape[0],
        small.fx_px / step,
        small.fy_px / step,
        small.cx_px / step,
        small.cy_px / step,
        frame.camera.distortion,
        frame.camera.coefficients,
    )
    return thin, camera


def _grow(
    start: int,
    size: int,
    linked: NDArray[np.bool_],
    covisibility: NDArray[np.float64],
    apart: NDArray[np.float64],
    free: NDArray[np.bool_],
) -> list[int]:
    members = [start]
    while len(members) < size:
        links = linked[members].sum(axis=0).astype(np.float64)
        links[members] = -1
        # At least half of the pairs stay covisible: any frame linked to half of the members will do, unused ones first.
        enough = 2 * links >= len(members)
        order = np.lexsort(
            (covisibility[members].mean(axis=0), apart[members].min(axis=0), links, free & enough, enough)
        )
        chosen = next(int(index) for index in order[::-1] if links[index] >= 0)
        members.append(chosen)
    return members


def _clip(members: list[int], covisibility: NDArray[np.float64], apart: NDArray[np.float64]) -> Clip:
    first, second = np.triu_indices(len(members), k=1)
    rows, columns = np.array(members)[first], np.array(members)[second]
    linked = covisibility[rows, columns] > COVISIBLE
    baselines = apart[rows, columns][linked]
    return Clip(
        tuple(members),
        float(linked.mean()) if len(linked) else 0.0,
        float(np.median(baselines)) if len(baselines) else math.nan,
    )


def _lap(by_scene: dict[str, list[int]], lap: int) -> list[int]:
    return [members[lap] for members in by_scene.values() if lap < len(members)]
