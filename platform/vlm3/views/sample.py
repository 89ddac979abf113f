"""A frame and its unified view become the sample that tasks receive."""

import numpy as np

from vlm3.geometry.depth import DepthKind, convert_depth_along
from vlm3.scenes.schema import Frame
from vlm3.views.samples import Provenance, ViewSample
from vlm3.views.unify import UnifiedView


def view_sample(frame: Frame, unified: UnifiedView, target: DepthKind, position: int | None) -> ViewSample:
    """Labels of `frame` in the pixels of `unified`, as depths of kind `target`; labels outside the view are dropped.

    Args:
        frame: with labels in original pixels.
        unified: the frame's image at the target focal.
        target: depth kind of the sample.
        position: stream position, None outside training.
    """
    source_px = frame.points[:, :2].astype(np.float64)
    # Undoing a lens costs more than all the rest: once for the depth and the place.
    rays = frame.camera.unproject(source_px)
    depth_m = convert_depth_along(frame.points[:, 2], rays, frame.depth_kind, target)
    points_px = unified.map_rays(rays)
    kept = np.isfinite(points_px[:, 0]) & np.isfinite(depth_m)
    return ViewSample(
        image=unified.image,
        camera=unified.camera,
        points_px=points_px[kept],
        depth_m=depth_m[kept],
        depth_kind=target,
        scale=frame.scale,
        boxes=frame.boxes or (),
        provenance=Provenance(frame.source, frame.scene, frame.frame, frame.intrinsics_source, position),
    )
