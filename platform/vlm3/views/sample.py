"""A frame and its unified view become the sample that tasks receive."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vlm3.geometry.depth import DepthKind, convert_depth_along
from vlm3.scenes.schema import Box, Frame
from vlm3.views.samples import Provenance, ViewSample
from vlm3.views.unify import UnifiedView

MIN_REGION_KEPT = 0.6
"""Share of a region's area that must lie in the unified image: of less, the object can hardly be judged."""
_T = np.linspace(0, 1, 5)[:-1]
_OUTLINE = np.concatenate(
    [np.stack(side, -1) for side in ((_T, 0 * _T), (0 * _T + 1, _T), (1 - _T, 0 * _T + 1), (0 * _T, 1 - _T))]
)
"""(16, 2) corners and points along the edges of the unit square: a lens bends what lies between corners."""


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
        boxes=_boxes_in_view(frame.boxes, unified) if frame.boxes else (),
        provenance=Provenance(frame.source, frame.scene, frame.frame, frame.intrinsics_source, position),
    )


def _boxes_in_view(boxes: tuple[Box, ...], unified: UnifiedView) -> tuple[Box, ...]:
    """Boxes with regions in the pixels of the unified image; the boxes themselves stay, as the camera's axes do.

    A region becomes the rectangle around its mapped outline, cut to the image. Boxes are dropped that have no region,
    one that the lens cannot show whole, or less than `MIN_REGION_KEPT` of its area in the image.
    """
    named = [(box, box.region_px) for box in boxes if box.region_px is not None]
    regions_px = np.array([region for _, region in named], np.float64).reshape(-1, 4)
    low, high = regions_px[:, None, :2], regions_px[:, None, 2:]
    outlines_px = (low + (high - low) * _OUTLINE).reshape(-1, 2)
    mapped_px = unified.camera.project(unified.source_camera.unproject(outlines_px)).reshape(-1, len(_OUTLINE), 2)
    whole_px = np.concatenate([mapped_px.min(axis=1), mapped_px.max(axis=1)], axis=1)
    last_px = np.array([unified.camera.width_px - 1, unified.camera.height_px - 1] * 2)
    cut_px = whole_px.clip(0, last_px)
    # NaN, where the lens has no inverse, compares as False.
    kept = (_area(whole_px) > 0) & (_area(cut_px) >= MIN_REGION_KEPT * _area(whole_px))
    return tuple(
        replace(box, region_px=(x0, y0, x1, y1))
        for (box, _), (x0, y0, x1, y1), keep in zip(named, cut_px.tolist(), kept.tolist(), strict=True)
        if keep
    )


def _area(regions_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) areas of regions (N, 4)."""
    area: NDArray[np.float64] = (regions_px[:, 2] - regions_px[:, 0]) * (regions_px[:, 3] - regions_px[:, 1])
    return area
