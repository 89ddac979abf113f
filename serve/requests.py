"""Reads the fields of a form into an image, its camera and the points asked; checks bounds before decoding pixels."""

import io
import json
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from pydantic import ValidationError

from serve.names import HOW_TO_GIVE_INTRINSICS, keys_fault
from serve.schemas import MAX_POINTS, POINTS, Intrinsics, first_fault
from vlm3.errors import DataError
from vlm3.geometry.camera import Camera
from vlm3.scenes.schema import IntrinsicsSource
from vlm3.sources.foreign import parse_json
from vlm3.storage.image_headers import SIDEWAYS, ImageHeader
from vlm3.storage.images import bounded_header

MAX_PIXELS = 50_000_000
"""Largest size of an uploaded image; a PNG of this size takes 150 MB when decoded."""
UNEQUAL_SIDES = 1.1
"""Ratio of the longer side to the shorter, from which on the centre of a picture and that of the picture turned by 90°
are clearly different."""
DIAGONAL_35MM = math.hypot(36.0, 24.0)
"""Diagonal of a 35 mm film frame in millimetres; "35 mm equivalent" compares diagonals (CIPA DCG-001)."""
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


class RequestError(Exception):
    """A request that cannot be answered, with the HTTP status that says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, eq=False)
class DepthRequest:
    """A checked request."""

    encoded_image: bytes
    """The image as sent, not turned: `vlm3.storage.images.upright` turns it."""
    camera: Camera
    """Camera of the picture as viewers show it, turned as EXIF says."""
    points_px: NDArray[np.float64]
    """(N, 2) in pixels of that picture."""
    intrinsics_source: IntrinsicsSource


def read_request(
    encoded_image: bytes, points: str, intrinsics: str | None, horizontal_fov_deg: float | None
) -> DepthRequest:
    """Check a form's fields; pixels are not decoded.

    Raises:
        RequestError: 413 too many pixels, 415 neither JPEG nor PNG, 422 anything else that is wrong.
    """
    header = _header(encoded_image)
    width_px, height_px = header.shown_width_px, header.shown_height_px
    camera, source = _camera(encoded_image, width_px, height_px, intrinsics, horizontal_fov_deg)
    fault = camera.fault() or _fault_of_the_turn(camera, header)
    if fault is not None:
        raise RequestError(422, f"intrinsics: {fault}{_how_it_is_turned(header)}")
    try:
        asked = POINTS.validate_json(points, strict=True)
    except ValidationError as error:
        raise RequestError(422, f"points: expected JSON [[u, v], …], 1 to {MAX_POINTS}: {first_fault(error)}") from None
    return DepthRequest(encoded_image, camera, np.array(asked, np.float64), source)


def _header(encoded: bytes) -> ImageHeader:
    if not encoded.startswith(SIGNATURES):
        raise RequestError(415, "image: expected a JPEG or PNG file, found something else")
    try:
        header = bounded_header(encoded)
    except DataError as error:
        raise RequestError(422, f"image: {error}") from None
    if header.width_px * header.height_px > MAX_PIXELS:
        size = f"{header.width_px}x{header.height_px} px"
        raise RequestError(413, f"image: {size}, at most {MAX_PIXELS} pixels are accepted; send a smaller one")
    return header


def _fault_of_the_turn(camera: Camera, header: ImageHeader) -> str | None:
    """Why K seems to belong to the picture before it is turned by 90°; None if it does not.

    Such a K may be possible for the turned picture: (2000, 1500), the centre of 4000x3000 px, also lies inside
    3000x4000 px. A calibrated principal point is seldom farther from the centre than a few hundredths of the side.
    """
    sides = sorted((header.width_px, header.height_px))
    if header.orientation not in SIDEWAYS or sides[1] < UNEQUAL_SIDES * sides[0]:
        return None
    principal_px = (camera.cx_px, camera.cy_px)
    shown_px = ((camera.width_px - 1) / 2, (camera.height_px - 1) / 2)
    if math.dist(principal_px, shown_px) <= math.dist(principal_px, shown_px[::-1]):
        return None
    return (
        f"principal point ({camera.cx_px:g}, {camera.cy_px:g}) is nearer to the centre of the picture as it is stored"
        " than to that of the upright one"
    )


def _how_it_is_turned(header: ImageHeader) -> str:
    """Text that explains how a picture stored on its side is turned; empty for any other picture."""
    if header.orientation not in SIDEWAYS:
        return ""
    return (
        f"; it is stored as {header.width_px}x{header.height_px} px and turned by EXIF (orientation"
        f" {header.orientation}): K and points are those of the upright picture, as viewers show it, of"
        f" {header.shown_width_px}x{header.shown_height_px} px; to leave it as stored, remove the tag (exiftool"
        " -Orientation= FILE)"
    )


def _camera(
    encoded: bytes, width_px: int, height_px: int, intrinsics: str | None, horizontal_fov_deg: float | None
) -> tuple[Camera, IntrinsicsSource]:
    """The camera and where it comes from: the first of intrinsics, field of view, EXIF."""
    if intrinsics is not None and horizontal_fov_deg is not None:
        raise RequestError(422, "intrinsics and horizontal_fov_deg exclude each other: send only one of them")
    if intrinsics is not None:
        return _read_intrinsics(intrinsics).camera(width_px, height_px), IntrinsicsSource.GIVEN
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


def _read_intrinsics(text: str) -> Intrinsics:
    try:
        data = parse_json(text)
        fault = keys_fault(data) if isinstance(data, dict) else None
        if fault is not None:
            raise RequestError(422, f"intrinsics: {fault}")
        return Intrinsics.model_validate_json(json.dumps(data))
    except ValidationError as error:
        fault = first_fault(error)
    except (ValueError, RecursionError) as error:  # not JSON, or nested too deep
        fault = f"not JSON: {error}"
    raise RequestError(422, f"intrinsics: {fault}; {HOW_TO_GIVE_INTRINSICS}")


def _centred(width_px: int, height_px: int, focal_px: float) -> Camera:
    return Camera(width_px, height_px, focal_px, focal_px, (width_px - 1) / 2, (height_px - 1) / 2)


def _focal_35mm(encoded: bytes) -> float | None:
    """35 mm equivalent focal length in millimetres from EXIF; None if EXIF has no usable value."""
    try:
        with Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG")) as image:
            value = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.FocalLengthIn35mmFilm)
        focal_mm = float(value) if value is not None else 0.0
    except (OSError, ValueError, TypeError, SyntaxError, ZeroDivisionError):  # damaged EXIF
        return None
    return focal_mm if 1 <= focal_mm <= 5000 else None
