"""Checks of a frame before it is stored: geometry that cannot be, images that cannot be read, labels that make no sense."""

import io
import math

import numpy as np
from PIL import Image, UnidentifiedImageError

from vlm3.geometry.camera import Camera
from vlm3.geometry.rigid import check_rigid
from vlm3.scenes.protocol import Rejection
from vlm3.scenes.schema import MAX_POINTS, Frame

MAX_DEPTH_M = 1000.0
MAX_PIXELS = 200_000_000
EXIF_ORIENTATION = 0x0112


def check_frame(frame: Frame) -> Rejection | None:
    """The first fault of a frame, None when it is sound.

    Checked: camera (finite, positive focal, principal point inside the image), image (JPEG or PNG, upright, of the camera's
    size, every pixel decodes), pose (finite, rigid), labels (some, inside the image, within the lens, 0 < depth ≤ 1000 m).
    """
    reason = _camera_fault(frame.camera) or _image_fault(frame) or _pose_fault(frame) or _label_fault(frame)
    return Rejection(frame.source, frame.scene, frame.frame, reason) if reason else None


def _camera_fault(camera: Camera) -> str | None:
    values = (camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px, *camera.coefficients)
    if not all(math.isfinite(value) for value in values):
        return f"intrinsics hold NaN or infinity: {values}"
    if camera.width_px < 1 or camera.height_px < 1:
        return f"camera says the image is {camera.width_px}x{camera.height_px} px"
    if camera.fx_px <= 0 or camera.fy_px <= 0:
        return f"focal lengths must be positive, found fx {camera.fx_px:g}, fy {camera.fy_px:g} px"
    if not (-0.5 <= camera.cx_px < camera.width_px - 0.5 and -0.5 <= camera.cy_px < camera.height_px - 0.5):
        return f"principal point ({camera.cx_px:g}, {camera.cy_px:g}) lies outside the image of {camera.width_px}x{camera.height_px} px"
    return None


def _image_fault(frame: Frame) -> str | None:
    try:
        # Pillow refuses what other decoders fill up with grey: truncated files and wrong checksums.
        with Image.open(io.BytesIO(frame.encoded_image), formats=["JPEG", "PNG"]) as image:
            if image.size != (frame.camera.width_px, frame.camera.height_px):
                said = f"{frame.camera.width_px}x{frame.camera.height_px}"
                return f"image is {image.width}x{image.height} px, its camera says {said}"
            if image.width * image.height > MAX_PIXELS:
                return f"image of {image.width}x{image.height} px, at most {MAX_PIXELS} pixels are read"
            orientation = image.getexif().get(EXIF_ORIENTATION, 1)
            if orientation != 1:
                return f"EXIF orientation {orientation}, expected 1 (upright): rotate pixels and intrinsics first"
            image.load()
    except UnidentifiedImageError:
        return f"image is neither JPEG nor PNG: it starts with {frame.encoded_image[:8]!r}"
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        return f"image cannot be decoded: {error}"
    return None


def _pose_fault(frame: Frame) -> str | None:
    fault = None if frame.world_T_cam is None else check_rigid(frame.world_T_cam)
    return f"pose is not rigid: {fault}" if fault else None


def _label_fault(frame: Frame) -> str | None:
    points = frame.points
    if points.ndim != 2 or points.shape[1] != 3 or len(points) > MAX_POINTS:
        return f"expected at most {MAX_POINTS} points of u, v, depth; found shape {points.shape}"
    if len(points) == 0:
        # A pose alone is a label, for questions about pose; an empty depth image is a fault of the sensor.
        useful = frame.boxes or (frame.world_T_cam is not None and frame.small_depth is None)
        return None if useful else "no label: not one valid depth"
    depth_m = points[:, 2]
    good = np.isfinite(depth_m) & (depth_m > 0) & (depth_m <= MAX_DEPTH_M)
    if not good.all():
        return _share("depth out of range (0 to 1000 m)", ~good, f"depth {depth_m[~good][0]:g} m")
    u, v = points[:, 0], points[:, 1]
    camera = frame.camera
    inside = (u >= -0.5) & (u < camera.width_px - 0.5) & (v >= -0.5) & (v < camera.height_px - 0.5)
    if not inside.all():
        first = points[~inside][0]
        where = f"({first[0]:g}, {first[1]:g}) in {camera.width_px}x{camera.height_px} px"
        return _share("outside the image", ~inside, where)
    seen = np.isfinite(camera.unproject(points[:, :2])).all(axis=1)
    if not seen.all():
        first = points[~seen][0]
        return _share("at pixels that the lens model cannot reach", ~seen, f"({first[0]:g}, {first[1]:g})")
    return None


def _share(fault: str, bad: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], first: str) -> str:
    count = int(np.count_nonzero(bad))
    return f"{count} of {len(bad)} labels ({count / len(bad):.0%}) {fault}, the first: {first}"
