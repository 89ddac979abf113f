"""Which frames of a scene see the same things, without comparing every frame with every other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vlm3.geometry.covisibility import frustum_overlap, symmetric_covisibility
from vlm3.geometry.rigid import relative
from vlm3.scenes.depth_labels import depth_camera, shrink_depth
from vlm3.scenes.schema import DepthMap, Frame

LINKED = 0.25
"""Symmetric covisibility above which a pair can be asked about (VLM3, arXiv 2605.30561, pairs)."""
NEIGHBOURS = 24
"""Pairs compared for each frame: its nearest by view."""
COMPARED_LONG_SIDE_PX = 64
"""Depth maps are compared at this size: the share changes by about 0.01 and costs a twelfth."""
TURN_M_PER_RAD = 3.0
"""A turn of 1 rad moves what is seen 3 m away by 3 m: how views are ordered by nearness."""


def covisibility_graph(frames: Sequence[Frame]) -> NDArray[np.float64]:
    """(n, n) symmetric covisibility; 0 for pairs too far apart to be compared.

    Args:
        frames: of one scene, all posed. Pairs of frames with depth are compared by depth, others by their frusta.
    """
    poses = [_pose(frame) for frame in frames]
    small = [_compared(frame) for frame in frames]
    shares = np.eye(len(frames))
    for i, j in _candidates(np.stack(poses)):
        cam1_T_cam2 = relative(poses[i], poses[j])
        depth1, depth2 = small[i], small[j]
        if depth1 is not None and depth2 is not None:
            camera1, camera2 = depth_camera(depth1, frames[i].camera), depth_camera(depth2, frames[j].camera)
            share = symmetric_covisibility(depth1.z_depth_m, camera1, depth2.z_depth_m, camera2, cam1_T_cam2)
        else:
            share = frustum_overlap(frames[i].camera, frames[j].camera, cam1_T_cam2)
        shares[i, j] = shares[j, i] = share
    return shares


def _pose(frame: Frame) -> NDArray[np.float64]:
    if frame.world_T_cam is None:
        raise ValueError(
            f"frame {frame.frame} of scene {frame.scene} has no pose: it belongs to a clip of single views"
        )
    return frame.world_T_cam


def _candidates(poses: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Each frame with its nearest views: by distance between centres and angle between axes."""
    centers, axes = poses[:, :3, 3], poses[:, :3, 2]
    distance = np.linalg.norm(centers[:, None] - centers[None], axis=-1)
    distance += TURN_M_PER_RAD * np.arccos(np.clip(axes @ axes.T, -1, 1))
    np.fill_diagonal(distance, -1.0)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, 1 : NEIGHBOURS + 1]
    return sorted({(min(i, j), max(i, j)) for i, row in enumerate(nearest.tolist()) for j in row})


def _compared(frame: Frame) -> DepthMap | None:
    if frame.small_depth is None:
        return None
    camera = depth_camera(frame.small_depth, frame.camera)
    return shrink_depth(frame.small_depth.z_depth_m, camera, COMPARED_LONG_SIDE_PX)
