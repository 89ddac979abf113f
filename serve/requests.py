"""From the fields of a form to an image with its camera and the points asked, bounded before anything is decoded."""

import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from pydantic import ValidationError

from serve.schemas import MAX_POINTS, POINTS, Intrinsics, first_fault
from vlm3.errors import DataError
from vlm3.geometry.camera import Camera
from vlm3.scenes.schema import IntrinsicsSource
from vlm3.storage.images import decode_size

MAX_PIXELS = 50_000_000
"""Of an uploaded image: a PNG of this size takes 150 MB when decoded."""
DIAGONAL_35MM = math.hypot(36.0, 24.0)
"""Millimetres; "35 mm equivalent" compares diagonals (CIPA DCG-001)."""
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
HOW_TO_GIVE_INTRINSICS = (
    'send intrinsics as JSON {"fx_px": …, "fy_px": …, "cx_px": …, "cy_px": …}, or horizontal_fov_deg as a number'
)


class RequestError(Exception):
    """A request that cannot be answered, with the HTTP status that says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, eq=False)
class DepthRequest:
    """A checked request."""

    encoded_image: bytes
    camera: Camera
    points_px: NDArray[np.float64]
    """(N, 2) in pixels of the image."""
    intrinsics_source: IntrinsicsSource


def read_request(
    encoded_image: bytes, points: str, intrinsics: str | None, horizontal_fov_deg: float | None
) -> DepthRequest:
    """Check a form's fields; pixels are not decoded.

    Raises:
        RequestError: 413 too many pixels, 415 neither JPEG nor PNG, 422 anything else that is wrong.
    """
    width_px, height_px = _size(encoded_image)
    camera, source = _camera(encoded_image, width_px, height_px, intrinsics, horizontal_fov_deg)
    fault = camera.fault()
    if fault is not None:
        raise RequestError(422, f"intrinsics: {fault}")
    try:
        asked = POINTS.validate_json(points, strict=True)
    except ValidationError as error:
        raise RequestError(422, f"points: expected JSON [[u, v], …], 1 to {MAX_POINTS}: {first_fault(error)}") from None
    return DepthRequest(encoded_image, camera, np.array(asked, np.float64), source)


def _size(encoded: bytes) -> tuple[int, int]:
    if not encoded.startswith(SIGNATURES):
        raise RequestError(415, "image: expected a JPEG or PNG file, found something else")
    try:
        width_px, height_px = decode_size(encoded)
    except DataError as error:
        raise RequestError(422, f"image: {error}") from None
    if width_px * height_px > MAX_PIXELS:
        raise RequestError(
            413, f"image: {width_px}x{height_px} px, at most {MAX_PIXELS} pixels are accepted; send a smaller one"
        )
    return width_px, height_px


def _camera(
    encoded: bytes, width_px: int, height_px: int, intrinsics: str | None, horizontal_fov_deg: float | None
) -> tuple[Camera, IntrinsicsSource]:
    """The camera, from the first of: intrinsics, field of view, EXIF."""
    if intrinsics is not None and horizontal_fov_deg is not None:
        raise RequestError(422, "intrinsics and horizontal_fov_deg exclude each other: send only one of them")
    if intrinsics is not None:
        try:
            given = Intrinsics.model_validate_json(intrinsics)
        except ValidationError as error:
            raise RequestError(422, f"intrinsics: {first_fault(error)}; {HOW_TO_GIVE_INTRINSICS}") from None
        return given.camera(width_px, height_px), IntrinsicsSource.GIVEN
    if horizontal_fov_deg is not None:
        if not 1 <= horizontal_fov_deg <= 170:
            raise RequestError(422, f"horizontal_fov_deg: expected 1 to 170 degrees, found {horizontal_fov_deg:g}")
        focal_px = width_px / 2 / math.tan(math.radians(horizontal_fov_deg) / 2)
        return _centred(width_px, height_px, focal_px), IntrinsicsSource.FIELD_OF_VIEW
    focal_mm = _focal_35mm(encoded)
    if focal_mm is None:
        raise RequestError(
            422, f"the image does not say its focal length (EXIF FocalLengthIn35mmFilm): {HOW_TO_GIVE_INTRINSICS}"
        )
    focal_px = focal_mm * math.hypot(width_px, height_px) / DIAGONAL_35MM
    return _centred(width_px, height_px, focal_px), IntrinsicsSource.EXIF


def _centred(width_px: int, height_px: int, focal_px: float) -> Camera:
    return Camera(width_px, height_px, focal_px, focal_px, (width_px - 1) / 2, (height_px - 1) / 2)


def _focal_35mm(encoded: bytes) -> float | None:
    """Millimetres from EXIF; None where it says nothing useful."""
    try:
        with Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG")) as image:
            value = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.FocalLengthIn35mmFilm)
        focal_mm = float(value) if value is not None else 0.0
    except (OSError, ValueError, TypeError, SyntaxError, ZeroDivisionError):  # damaged EXIF
        return None
    return focal_mm if 1 <= focal_mm <= 5000 else None
