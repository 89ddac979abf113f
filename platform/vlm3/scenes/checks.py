"""Checks at ingest: what is wrong with a frame, by name and number."""

import numpy as np

from vlm3.errors import DataError
from vlm3.geometry.camera import Camera
from vlm3.geometry.rigid import check_rigid
from vlm3.scenes.reader import Rejection
from vlm3.scenes.schema import Frame
from vlm3.storage.images import decode_rgb, decode_size

MAX_DEPTH_M = 1000.0


def check_frame(frame: Frame) -> Rejection | None:
    """The first fault of a frame, None when it can be used."""
    reason = _intrinsics(frame.camera) or _pose(frame) or _image(frame) or _labels(frame)
    return None if reason is None else Rejection(frame.source, frame.scene, frame.frame, reason)


def _intrinsics(camera: Camera) -> str | None:
    values = (camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px, *camera.coefficients)
    if not np.isfinite(values).all():
        return f"intrinsics must be finite, found {values}"
    if min(camera.fx_px, camera.fy_px) <= 0:
        return f"focal lengths must be positive, found fx {camera.fx_px:g}, fy {camera.fy_px:g} px"
    if not (0 <= camera.cx_px <= camera.width_px - 1 and 0 <= camera.cy_px <= camera.height_px - 1):
        return (
            f"principal point ({camera.cx_px:g}, {camera.cy_px:g}) lies outside the image of"
            f" {camera.width_px}x{camera.height_px} px: do K and the image have the same size?"
        )
    return None


def _pose(frame: Frame) -> str | None:
    reason = None if frame.world_T_cam is None else check_rigid(frame.world_T_cam)
    return None if reason is None else f"pose is not rigid: {reason}"


def _image(frame: Frame) -> str | None:
    try:
        size = decode_size(frame.encoded_image)
        if size != (frame.camera.width_px, frame.camera.height_px):
            return f"image is {size[0]}x{size[1]} px, its camera says {frame.camera.width_px}x{frame.camera.height_px}"
        decode_rgb(frame.encoded_image)
    except DataError as error:
        return f"unreadable image: {error}"
    return None


def _labels(frame: Frame) -> str | None:
    points = frame.points
    if len(points) == 0:
        return "no valid depth label"
    depth = points[:, 2]
    wrong = ~(np.isfinite(depth) & (depth > 0) & (depth <= MAX_DEPTH_M))
    if wrong.any():
        return (
            f"{int(wrong.sum())} of {len(points)} depths are not in (0, {MAX_DEPTH_M:g}] m, first {depth[wrong][0]:g}"
        )
    low, high = (-0.5, -0.5), (frame.camera.width_px - 0.5, frame.camera.height_px - 0.5)
    outside = ~((points[:, :2] >= low) & (points[:, :2] < high)).all(axis=1)
    if outside.any():
        u, v = points[outside][0, :2]
        return f"{int(outside.sum())} of {len(points)} labels lie outside the image, first ({u:g}, {v:g})"
    return None
