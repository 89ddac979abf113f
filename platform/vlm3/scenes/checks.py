"""Checks of a frame before it is stored: impossible geometry, unreadable images, senseless labels."""

import math

import numpy as np
from numpy.typing import NDArray

from vlm3.errors import DataError
from vlm3.geometry.rigid import check_rigid
from vlm3.scenes.protocol import Rejection
from vlm3.scenes.schema import MAX_POINTS, Frame
from vlm3.storage.images import TurnedImageError, decode_rgb, decode_size

MAX_DEPTH_M = 1000.0


def check_frame(frame: Frame) -> Rejection | None:
    """The first fault of a frame, None when it is sound.

    Checked: camera (finite, positive focal, principal point inside the image), image (JPEG or PNG, upright, of the
    camera's size, every pixel decodes), pose (finite, rigid), labels (at least a point, box or pose; points inside the
    image, within the reach of the lens, 0 < depth ≤ 1000 m), small depth map (has pixels and a possible K).
    """
    reason = image_fault(frame) or _label_fault(frame) or _lens_fault(frame) or _small_depth_fault(frame)
    return Rejection(frame.source, frame.scene, frame.frame, reason) if reason else None


def stored_fault(frame: Frame) -> str | None:
    """What is wrong with a stored frame, None when it is sound: `check_frame` without what making a sample covers.

    Decoding then finds damaged pixels, and labels beyond the reach of the lens are left out of the view.
    """
    return frame.camera.fault() or _pose_fault(frame) or _label_fault(frame) or _small_depth_fault(frame)


def image_fault(frame: Frame) -> str | None:
    """What is wrong with a frame's camera, image or pose, None when they are sound; labels are not checked."""
    return frame.camera.fault() or _image_fault(frame) or _pose_fault(frame)


def _small_depth_fault(frame: Frame) -> str | None:
    small = frame.small_depth
    if small is None:
        return None
    intrinsics = (small.fx_px, small.fy_px, small.cx_px, small.cy_px)
    known = all(value is not None and math.isfinite(value) for value in intrinsics)
    if not small.z_depth_m.size or not known or min(small.fx_px, small.fy_px) <= 0:
        return f"the small depth map of {small.z_depth_m.shape} has impossible intrinsics: {intrinsics}"
    return None


def _image_fault(frame: Frame) -> str | None:
    try:
        width_px, height_px = decode_size(frame.encoded_image)
        if (width_px, height_px) != (frame.camera.width_px, frame.camera.height_px):
            said = f"{frame.camera.width_px}x{frame.camera.height_px}"
            return f"image is {width_px}x{height_px} px, its camera says {said}"
        decode_rgb(frame.encoded_image)
    except TurnedImageError as error:
        return f"turned image: {error}"
    except DataError as error:
        return f"unreadable image: {error}"
    return None


def _pose_fault(frame: Frame) -> str | None:
    fault = None if frame.world_T_cam is None else check_rigid(frame.world_T_cam)
    return f"pose is not rigid: {fault}" if fault else None


def _label_fault(frame: Frame) -> str | None:
    points = frame.points
    if points.ndim != 2 or points.shape[1] != 3 or len(points) > MAX_POINTS:
        return f"expected at most {MAX_POINTS} points of u, v, depth; found shape {points.shape}"
    if len(points) == 0:
        # A pose alone is a label, for questions about pose; a depth image without valid depth is a sensor's fault.
        useful = frame.boxes or (frame.world_T_cam is not None and frame.small_depth is None)
        return None if useful else "no label: not one valid depth"
    depth_m = points[:, 2]
    wrong: NDArray[np.bool_] = ~(np.isfinite(depth_m) & (depth_m > 0) & (depth_m <= MAX_DEPTH_M))
    if wrong.any():
        return _share(f"out of the range of depth (0 to {MAX_DEPTH_M:g} m)", wrong, f"{depth_m[wrong][0]:g} m")
    camera = frame.camera
    outside = ~camera.contains(points[:, :2])
    if outside.any():
        first = points[outside][0]
        where = f"({first[0]:g}, {first[1]:g}) in {camera.width_px}x{camera.height_px} px"
        return _share("outside the image", outside, where)
    return None


def _lens_fault(frame: Frame) -> str | None:
    points = frame.points
    beyond = np.isnan(frame.camera.unproject(points[:, :2])[:, 2])
    if beyond.any():
        first = points[beyond][0]
        return _share("at pixels that the lens model cannot reach", beyond, f"({first[0]:g}, {first[1]:g})")
    return None


def _share(fault: str, bad: NDArray[np.bool_], first: str) -> str:
    count = int(np.count_nonzero(bad))
    return f"{count} of {len(bad)} labels ({count / len(bad):.0%}) {fault}, the first: {first}"
