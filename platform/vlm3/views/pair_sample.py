"""Makes the sample that tasks on pairs receive, from two frames of a scene and their unified views."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlm3.geometry.depth import DepthKind, convert_depth
from vlm3.geometry.rigid import invert, relative, transform
from vlm3.geometry.visibility import RELATIVE_TOLERANCE, sight
from vlm3.scenes.depth_labels import depth_camera
from vlm3.scenes.schema import Frame
from vlm3.views.pairs import corresponds
from vlm3.views.sample import view_sample
from vlm3.views.samples import PairSample
from vlm3.views.unify import UnifiedView

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def pair_sample(
    frame1: Frame,
    frame2: Frame,
    unified1: UnifiedView,
    unified2: UnifiedView,
    *,
    overlap: float,
    target: DepthKind,
    position: int | None,
    relative_tolerance: float = RELATIVE_TOLERANCE,
) -> PairSample:
    """Make a pair sample: relative pose of two frames, and places in frame 2 of the labelled points of frame 1.

    Labels are lifted to 3D by their depth, moved to camera 2 and projected; the small depth map of frame 2 shows
    whether they are visible there. Points for which it cannot (holes, depth edges: `vlm3.geometry.visibility`) are left
    out. Frames that cannot correspond (`vlm3.views.pairs.corresponds`) give a pair with a pose and no points.

    Args:
        frame1: posed frame with labels in original pixels.
        frame2: posed frame of the same scene; its small depth map is needed for points.
        unified1: unified view of frame 1.
        unified2: unified view of frame 2.
        overlap: symmetric covisibility of the pair.
        target: depth kind of the labels in the sample's two views.
        position: stream position, None outside training.
        relative_tolerance: relative depth difference up to which a point counts as visible.

    Raises:
        ValueError: a frame has no pose, or the frames are of different scenes.
    """
    if (frame1.source, frame1.scene) != (frame2.source, frame2.scene):
        raise ValueError(f"a pair needs frames of one scene, found {_name(frame1)} and {_name(frame2)}")
    if frame1.world_T_cam is None or frame2.world_T_cam is None:
        raise ValueError(f"a pair needs two posed frames, found {_name(frame1)} and {_name(frame2)}")
    cam1_T_cam2 = relative(frame1.world_T_cam, frame2.world_T_cam)
    points1_px, points2_px, visible = _correspondences(
        frame1, frame2, unified1, unified2, invert(cam1_T_cam2), relative_tolerance
    )
    return PairSample(
        view1=view_sample(frame1, unified1, target, position),
        view2=view_sample(frame2, unified2, target, position),
        cam1_T_cam2=cam1_T_cam2,
        points1_px=points1_px,
        points2_px=points2_px,
        visible=visible,
        overlap=overlap,
    )


def _correspondences(
    frame1: Frame,
    frame2: Frame,
    unified1: UnifiedView,
    unified2: UnifiedView,
    cam2_T_cam1: Array,
    relative_tolerance: float,
) -> tuple[Array, Array, Mask]:
    """(N, 2) points of unified image 1, (N, 2) their places in unified image 2, (N,) whether they are visible there."""
    found = source_correspondences(frame1, frame2, cam2_T_cam1, relative_tolerance)
    points1_px = unified1.map_points(found.points1_px)
    points2_px = unified2.map_points(found.points2_px)
    in_view2 = np.isfinite(points2_px[:, 0])
    known = found.visible | found.occluded | ~in_view2
    kept = np.isfinite(points1_px[:, 0]) & known
    return points1_px[kept], points2_px[kept], (found.visible & in_view2)[kept]


@dataclass(frozen=True, slots=True, eq=False)
class SourceCorrespondences:
    """Labelled points of frame 1 and their places in frame 2, in original pixels.

    Where neither mask is True, visibility is unknown.
    """

    points1_px: Array
    """(N, 2) points in frame 1."""
    points2_px: Array
    """(N, 2) their places in frame 2; NaN outside of it."""
    visible: Mask
    """(N,) True for points that frame 2 sees."""
    occluded: Mask
    """(N,) True for points hidden behind the surface that frame 2 sees."""


def source_correspondences(
    frame1: Frame, frame2: Frame, cam2_T_cam1: Array, relative_tolerance: float = RELATIVE_TOLERANCE
) -> SourceCorrespondences:
    """Lift the labels of frame 1 by their depth, project them into frame 2, and compare them with its small depth map.

    Args:
        frame1: frame with labels; those whose pixel has no ray are left out.
        frame2: frame with a small depth map.
        cam2_T_cam1: (4, 4) pose of camera 1 in the frame of camera 2.
        relative_tolerance: relative depth difference up to which a point counts as visible.

    Returns:
        Correspondences of N points; N = 0 for frames that cannot correspond (`vlm3.views.pairs.corresponds`).
    """
    if frame2.small_depth is None or not corresponds(frame1, frame2):
        nothing = np.empty(0, bool)
        return SourceCorrespondences(np.empty((0, 2)), np.empty((0, 2)), nothing, nothing)
    source1_px = frame1.points[:, :2].astype(np.float64)
    z_depth_m = convert_depth(frame1.points[:, 2], source1_px, frame1.camera, frame1.depth_kind, DepthKind.Z)
    lifted = np.isfinite(z_depth_m)
    source1_px, z_depth_m = source1_px[lifted], z_depth_m[lifted]
    points_m = transform(cam2_T_cam1, frame1.camera.unproject(source1_px) * z_depth_m[:, None])
    source2_px = frame2.camera.project(points_m)
    # A point outside of frame 2 has no place in its unified image either, even where that image is padded.
    in_frame2 = frame2.camera.contains(source2_px)
    found = sight(
        points_m, frame2.small_depth.z_depth_m, depth_camera(frame2.small_depth, frame2.camera), relative_tolerance
    )
    return SourceCorrespondences(
        source1_px, np.where(in_frame2[:, None], source2_px, np.nan), found.visible, found.occluded
    )


def _name(frame: Frame) -> str:
    posed = "" if frame.world_T_cam is not None else " without a pose"
    return f"{frame.source}/{frame.scene}/{frame.frame}{posed}"
