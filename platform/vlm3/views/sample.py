"""Makes the sample that tasks receive from a frame and its unified view."""

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind, convert_depth_along
from vlm3.geometry.pixels import Region
from vlm3.geometry.ray_extent import outline
from vlm3.scenes.schema import Box, Frame
from vlm3.views.samples import Provenance, ViewSample
from vlm3.views.unify import UnifiedView

MIN_REGION_KEPT = 0.6
"""Share of a region's area that must lie in the unified image: with less, the object can hardly be judged."""
_OUTLINE = outline(4)


def view_sample(frame: Frame, unified: UnifiedView, target: DepthKind, position: int | None) -> ViewSample:
    """Make a view sample, with labels in unified pixels and as depths of kind `target`; labels out of view are dropped.

    Args:
        frame: frame with labels in original pixels.
        unified: the frame's unified view.
        target: depth kind of the sample's labels.
        position: stream position, None outside training.
    """
    source_px = frame.points[:, :2].astype(np.float64)
    # Unprojecting through a lens costs more than all the rest, so the rays serve both depth and place.
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


def regions_in_view(
    regions_px: Sequence[Region], source: Camera, unified: Camera, least_kept: float = MIN_REGION_KEPT
) -> list[Region | None]:
    """Map regions x0, y0, x1, y1 from the image of camera `source` to the unified image, and cut them to it.

    A region becomes the rectangle around its mapped outline. It becomes None if a part of its outline is outside the
    lens model, or if less than `least_kept` of its area is in the image; if `least_kept` is 0, any visible part is
    enough.
    """
    corners_px = np.array(regions_px, np.float64).reshape(-1, 4)
    low, high = corners_px[:, None, :2], corners_px[:, None, 2:]
    outlines_px = (low + (high - low) * _OUTLINE).reshape(-1, 2)
    mapped_px = unified.project(source.unproject(outlines_px)).reshape(-1, len(_OUTLINE), 2)
    if least_kept == 0:
        # Points beyond the lens are ignored; a region whose outline is all beyond it stays NaN.
        mapped_px = np.where(np.isfinite(mapped_px), mapped_px, np.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            whole_px = np.concatenate([np.nanmin(mapped_px, axis=1), np.nanmax(mapped_px, axis=1)], axis=1)
    else:
        whole_px = np.concatenate([mapped_px.min(axis=1), mapped_px.max(axis=1)], axis=1)
    last_px = np.array([unified.width_px - 1, unified.height_px - 1] * 2)
    cut_px = whole_px.clip(0, last_px)
    # Comparisons with NaN, where the lens has no inverse, are False.
    kept = (_area(cut_px) > 0) & (_area(cut_px) >= least_kept * _area(whole_px))
    return [(x0, y0, x1, y1) if keep else None for (x0, y0, x1, y1), keep in zip(cut_px.tolist(), kept, strict=True)]


def _boxes_in_view(boxes: tuple[Box, ...], unified: UnifiedView) -> tuple[Box, ...]:
    """Boxes whose regions are in view, with regions in unified pixels; their 3D stays, as the camera frame does."""
    named = [(box, box.region_px) for box in boxes if box.region_px is not None]
    mapped = regions_in_view([region for _, region in named], unified.source_camera, unified.camera)
    return tuple(replace(box, region_px=region) for (box, _), region in zip(named, mapped, strict=True) if region)


def _area(regions_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) areas of regions (N, 4), in square pixels."""
    area: NDArray[np.float64] = (regions_px[:, 2] - regions_px[:, 0]) * (regions_px[:, 3] - regions_px[:, 1])
    return area
