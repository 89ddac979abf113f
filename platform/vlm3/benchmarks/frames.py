"""Frames of benchmarks: checked, with poses and labels in the form that items need."""

import numpy as np
from numpy.typing import NDArray

from vlm3.asking.items import DepthItem, PairItem
from vlm3.benchmarks.items import MOST_POINTS
from vlm3.errors import DataError
from vlm3.geometry.rigid import check_rigid, invert, orthonormalize, relative
from vlm3.scenes.checks import check_frame, image_fault
from vlm3.scenes.schema import Frame
from vlm3.views.pair_sample import source_correspondences

Array = NDArray[np.float64]
AGREES_DEG, AGREES_SHARE = 0.5, 0.02
"""Allowed difference of a listed relative pose from its frames' poses: degrees, share of the distance. Files round."""
NOTHING = np.empty((0, 2))
"""Points of a pair that is asked for its pose only."""
NO_POINTS = np.empty((0, 3), np.float32)
"""Labels of a frame that has none."""


def sound(frame: Frame) -> Frame:
    """The frame, if it is sound by `vlm3.scenes.checks.check_frame`.

    Raises:
        DataError: it is not sound; the message says why.
    """
    fault = check_frame(frame)
    if fault is not None:
        raise DataError(fault.reason)
    return frame


def sound_image(frame: Frame) -> Frame:
    """A frame without labels of its own, if its camera, image and pose are sound.

    Raises:
        DataError: one of them is not sound; the message says why.
    """
    fault = image_fault(frame)
    if fault is not None:
        raise DataError(fault)
    return frame


def depth_item(item: str, group: str, frame: Frame, most: int | None = None) -> DepthItem:
    """An item about all labelled points of a frame, or only about the first `most`."""
    points = frame.points[:most].astype(np.float64)
    return DepthItem(item, group, frame, points[:, :2], points[:, 2])


def pair_item(item: str, group: str, frame1: Frame, frame2: Frame) -> PairItem:
    """Pose and corresponding points of two posed frames; points are found by depth, NaN if frame 2 does not see them.

    Points for which the depth of frame 2 cannot decide this are left out, and at most `MOST_POINTS` are kept.
    """
    assert frame1.world_T_cam is not None and frame2.world_T_cam is not None
    cam1_T_cam2 = relative(frame1.world_T_cam, frame2.world_T_cam)
    found = source_correspondences(frame1, frame2, invert(cam1_T_cam2))
    outside = np.isnan(found.points2_px[:, 0])
    kept = np.flatnonzero(found.visible | found.occluded | outside)[:MOST_POINTS]
    points2_px = np.where((found.visible & ~outside)[:, None], found.points2_px, np.nan)
    return PairItem(item, group, frame1, frame2, cam1_T_cam2, found.points1_px[kept], points2_px[kept])


def rigid(rows: tuple[tuple[float, ...], ...], name: str) -> Array:
    """A 4×4 matrix from a file as a rigid transform, with the file's rounding undone.

    Raises:
        DataError: it is not a rigid transform.
    """
    if len(rows) != 4 or any(len(row) != 4 for row in rows):
        raise DataError(f"{name}: expected 4 rows of 4 numbers, found rows of {[len(row) for row in rows]}")
    matrix = np.array(rows, np.float64)
    fault = check_rigid(matrix)
    if fault is not None:
        raise DataError(f"{name}: not rigid: {fault}")
    return orthonormalize(matrix)


def check_agrees(listed: Array, computed: Array, name: str) -> None:
    """Refuse a listed transform that the poses of its frames contradict.

    Raises:
        DataError: the two differ; the message says by how much.
    """
    turned = listed[:3, :3].T @ computed[:3, :3]
    angle_deg = float(np.rad2deg(np.arccos(np.clip((np.trace(turned) - 1) / 2, -1, 1))))
    apart = float(np.linalg.norm(listed[:3, 3] - computed[:3, 3]))
    allowed = AGREES_SHARE * max(float(np.linalg.norm(computed[:3, 3])), 0.05)
    if angle_deg > AGREES_DEG or apart > allowed:
        raise DataError(
            f"{name} differs from what the poses of its frames give by {angle_deg:.2f} degrees and {apart:.3f}: is it"
            " X_b = T X_a, and are the poses camera-to-world?"
        )
