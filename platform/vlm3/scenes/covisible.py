"""Which frames of a scene see the same things, without comparing every frame with every other."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vlm3.geometry.camera import Camera, Distortion
from vlm3.geometry.covisibility import PosedDepth, covisible_shares, frustum_shares
from vlm3.scenes.depth_labels import depth_camera
from vlm3.scenes.schema import Frame

LINKED = 0.25
"""Symmetric covisibility above which a pair can be asked about (VLM3, arXiv 2605.30561, pairs)."""
NEIGHBOURS = 24
"""Number of nearest views that each frame is compared with."""
COMPARED_LONG_SIDE_PX = 64
"""Depth maps are compared at this size, without distortion: cheap, and exact enough to choose neighbours by."""
STRIDE = 2
"""Step between the rows and columns of such a map whose points are looked for in the other maps."""
TURN_M_PER_RAD = 3.0
"""Distance that a turn of 1 rad counts as when views are ordered by nearness: it moves what is 3 m away by 3 m."""


def covisibility_graph(frames: Sequence[Frame]) -> NDArray[np.float64]:
    """(n, n) symmetric covisibility; 0 for pairs too far apart to be compared.

    Args:
        frames: frames of one scene, all posed. Pairs with depth are compared by depth, others by their frusta.
    """
    poses = [_pose(frame) for frame in frames]
    views = [_compared(frame, pose) for frame, pose in zip(frames, poses, strict=True)]
    compared = _candidates(np.stack(poses))
    deep = np.array([view is not None for view in views])
    both = np.outer(deep, deep)
    shares = np.eye(len(frames))
    shares += frustum_shares([frame.camera for frame in frames], poses, compared & ~both)
    seen = covisible_shares([view for view in views if view is not None], compared[np.ix_(deep, deep)], stride=STRIDE)
    shares[np.ix_(deep, deep)] += seen
    return (shares + shares.T) / 2


def _pose(frame: Frame) -> NDArray[np.float64]:
    if frame.world_T_cam is None:
        raise ValueError(
            f"frame {frame.frame} of scene {frame.scene} has no pose: it belongs to a clip of single views"
        )
    return frame.world_T_cam


def _candidates(poses: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n, n) symmetric mask: each frame with its nearest views, by distance of the centres and angle of the axes."""
    centers, axes = poses[:, :3, 3], poses[:, :3, 2]
    distance = np.linalg.norm(centers[:, None] - centers[None], axis=-1)
    distance += TURN_M_PER_RAD * np.arccos(np.clip(axes @ axes.T, -1, 1))
    np.fill_diagonal(distance, -1.0)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, 1 : NEIGHBOURS + 1]
    near = np.zeros(distance.shape, bool)
    np.put_along_axis(near, nearest, True, axis=1)
    either: NDArray[np.bool_] = near | near.T
    return either


def _compared(frame: Frame, world_T_cam: NDArray[np.float64]) -> PosedDepth | None:
    """The small depth map, resampled (nearest) to a smaller camera without distortion; None without depth."""
    if frame.small_depth is None:
        return None
    source, z_depth_m = depth_camera(frame.small_depth, frame.camera), frame.small_depth.z_depth_m
    scale = min(1.0, COMPARED_LONG_SIDE_PX / max(z_depth_m.shape))
    size_px = (max(1, round(source.width_px * scale)), max(1, round(source.height_px * scale)))
    target = replace(source.scaled(scale, scale, *size_px), distortion=Distortion.NONE, coefficients=())
    rows, columns, inside = _samples(source, target)
    return PosedDepth(np.where(inside, z_depth_m[rows, columns], np.float32(np.nan)), target, world_T_cam)


@lru_cache(maxsize=64)
def _samples(source: Camera, target: Camera) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Row and column of `source` nearest to each pixel of `target`, and whether it is inside; (h, w) each."""
    v, u = np.mgrid[: target.height_px, : target.width_px]
    pixels = np.rint(source.project(target.unproject(np.stack([u, v], axis=-1).astype(np.float64))))
    inside: NDArray[np.bool_] = np.all((pixels >= 0) & (pixels < (source.width_px, source.height_px)), axis=-1)
    columns, rows = np.where(inside[..., None], pixels, 0).astype(np.intp).transpose(2, 0, 1)
    return rows, columns, inside
