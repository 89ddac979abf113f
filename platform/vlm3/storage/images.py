"""Encoded images to pixels: bounded before decoding, never larger than needed."""

import math
import struct
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from vlm3.errors import DataError

MAX_DECODED_PIXELS = 200_000_000
MAX_ENCODED_BYTES = 256 << 20
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Pixels of an image, perhaps of a smaller size than the image's own."""

    pixels: NDArray[np.uint8]
    """(h, w, 3) RGB."""
    full_width_px: int
    full_height_px: int
    scale_x: float
    """Pixels of `pixels` per pixel of the full image: exactly M/8 for DCT-scaled decoding, not w / W."""
    scale_y: float


def decode_size(encoded: bytes) -> tuple[int, int]:
    """(width, height) from the header, nothing decoded.

    Raises:
        DataError: neither JPEG nor PNG, a damaged header, an EXIF orientation other than normal, or too large.
    """
    if len(encoded) > MAX_ENCODED_BYTES:
        raise DataError(f"image file of {len(encoded)} bytes, at most {MAX_ENCODED_BYTES} are read")
    if encoded.startswith(_PNG):
        if len(encoded) < 24:
            raise DataError("PNG ends inside its header")
        width, height = struct.unpack(">II", encoded[16:24])
    elif encoded.startswith(_JPEG):
        try:
            height, width, _, _ = simplejpeg.decode_jpeg_header(encoded)
        except ValueError as error:
            raise DataError(f"damaged JPEG header: {error}") from None
        orientation = exif_orientation(encoded)
        if orientation not in (None, 1):
            raise DataError(
                f"JPEG has EXIF orientation {orientation}, expected 1 (upright):"
                " rotate pixels and intrinsics before ingesting"
            )
    else:
        raise DataError(f"expected a JPEG or PNG image, found bytes that start with {encoded[:8]!r}")
    if not (0 < width * height <= MAX_DECODED_PIXELS):
        raise DataError(f"image of {width}x{height} px, expected 1 to {MAX_DECODED_PIXELS} pixels")
    return width, height


def decode_rgb(encoded: bytes) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of a whole image. Raises DataError as `decode_size`, or for damaged pixels."""
    return decode_at_least(encoded, 1.0).pixels


def decode_at_least(encoded: bytes, scale: float) -> Decoded:
    """Decode at the smallest cheap size that is at least `scale` (≤ 1) of the full one.

    Raises:
        DataError: as `decode_size`, or for damaged pixels.
    """
    width, height = decode_size(encoded)
    if encoded.startswith(_PNG):
        pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
        if pixels is None:
            raise DataError("damaged PNG: its pixels cannot be decoded")
        return Decoded(pixels, width, height, 1.0, 1.0)
    eighths = min(8, max(1, math.ceil(scale * 8)))
    if eighths == 7:
        # libjpeg's transform to 7/8 takes twice as long as the whole image's, which also keeps more detail.
        eighths = 8
    try:
        pixels = simplejpeg.decode_jpeg(
            encoded, "RGB", min_height=-(-height * eighths // 8), min_width=-(-width * eighths // 8), min_factor=1
        )
    except ValueError as error:
        raise DataError(f"damaged JPEG: {error}") from None
    # libjpeg gives ceil(size · M / 8); which M it chose follows from the size.
    chosen = next(m for m in range(1, 9) if (-(-height * m // 8), -(-width * m // 8)) == pixels.shape[:2])
    return Decoded(pixels, width, height, chosen / 8, chosen / 8)


def exif_orientation(jpeg: bytes) -> int | None:
    """The orientation tag of the first EXIF block of a JPEG, None without one; 1 is upright."""
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF and jpeg[at + 1] not in (0xDA, 0xD9):
        size = int.from_bytes(jpeg[at + 2 : at + 4], "big")
        segment = jpeg[at + 4 : at + 2 + size]
        if jpeg[at + 1] == 0xE1 and segment.startswith(b"Exif\0\0"):
            return _tiff_orientation(segment[6:])
        at += 2 + size
    return None


def _tiff_orientation(tiff: bytes) -> int | None:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return None
    (first,) = struct.unpack(order + "I", tiff[4:8])
    if first + 2 > len(tiff):
        return None
    (count,) = struct.unpack(order + "H", tiff[first : first + 2])
    for entry in range(first + 2, min(first + 2 + 12 * count, len(tiff) - 11), 12):
        tag, _, _, value = struct.unpack(order + "HHIH", tiff[entry : entry + 10])
        if tag == _ORIENTATION_TAG:
            return int(value)
    return None
