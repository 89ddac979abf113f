"""Decodes images: their size is bounded before decoding, and they are decoded no larger than needed."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from vlm3.errors import DataError
from vlm3.storage.image_headers import SIDEWAYS, UPRIGHT, ImageHeader, ImageKind, read_header, without_stray_bytes

MAX_DECODED_PIXELS = 200_000_000
MAX_ENCODED_BYTES = 256 << 20
MAX_SCANS = 100
"""Most scans of a JPEG. Encoders write about 10; each costs a pass over the picture, however small the file."""
MAX_SCANNED_PIXELS = 2_500_000_000
"""Most scans times pixels: at 0.6 ns a pixel, 1.5 s of a core. The largest image may have the usual 10 scans."""
DARKEST_16_BIT = 4096
"""A 16-bit picture with all values below this looks black: most likely 12-bit values that were never scaled up."""
STRAY_BYTES = "extraneous bytes"
"""libjpeg's words for bytes that belong to no segment."""
_UPRIGHT_BY_JPEGTRAN = {
    2: "-flip horizontal", 3: "-rotate 180", 4: "-flip vertical", 5: "-transpose",
    6: "-rotate 90", 7: "-transverse", 8: "-rotate 270",
}  # fmt: skip


class TurnedImageError(DataError):
    """The pixels are sound, but EXIF says that they must be turned before they are shown."""

    def __init__(self, kind: ImageKind, orientation: int) -> None:
        super().__init__(kind, orientation)
        self.kind, self.orientation = kind, orientation

    def __str__(self) -> str:
        """The fault and its cure."""
        return f"{self.kind} has EXIF orientation {self.orientation}, expected {UPRIGHT} (upright): {self.cure}"

    @property
    def cure(self) -> str:
        """What the user can do about it."""
        turning = (
            f"jpegtran -copy none {_UPRIGHT_BY_JPEGTRAN[self.orientation]} FILE > NEW"
            if self.kind is ImageKind.JPEG
            else "magick FILE -auto-orient NEW"
        )
        return (
            "if K and points are of the pixels as stored, remove the tag (exiftool -Orientation= FILE);"
            f" else turn pixels ({turning}), K and points"
        )


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
    """(width, height) of the pixels as stored, read from the header without decoding.

    Raises:
        TurnedImageError: EXIF has an orientation other than upright.
        DataError: as `bounded_header`.
    """
    header = _upright_header(encoded)
    return header.width_px, header.height_px


def decode_rgb(encoded: bytes) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of a whole image. Raises DataError as `decode_size`, or for damaged pixels."""
    return decode_at_least(encoded, 1.0).pixels


def decode_at_least(encoded: bytes, scale: float) -> Decoded:
    """Decode at the smallest cheap size that is at least `scale` (≤ 1) of the full one.

    Raises:
        DataError: as `decode_size`, or for damaged pixels.
    """
    return _decoded(encoded, _upright_header(encoded), scale)


def upright(encoded: bytes) -> bytes:
    """The picture as viewers show it: unchanged if upright, else a PNG without the tag, its pixels turned as EXIF says.

    K and points must be those of the picture as shown.

    Raises:
        DataError: as `bounded_header`, or for damaged pixels of a picture that must be turned.
    """
    header = bounded_header(encoded)
    if header.orientation == UPRIGHT:
        return encoded
    shown = _turned(_decoded(encoded, header, 1.0).pixels, header.orientation)
    done, png = cv2.imencode(".png", np.ascontiguousarray(shown[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise RuntimeError("OpenCV could not encode a PNG")
    return png.tobytes()


def _turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A view of the pixels as shown (Exif 2.32, 4.6.4: where the stored row 0 and column 0 lie in the picture)."""
    if orientation in SIDEWAYS:
        pixels = pixels.transpose(1, 0, 2)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::rows, ::columns]


def _decoded(encoded: bytes, header: ImageHeader, scale: float) -> Decoded:
    """The pixels as stored, not turned, at the smallest cheap size that is at least `scale` of the full one."""
    if header.kind is ImageKind.PNG:
        return Decoded(_decode_png(encoded, header), header.width_px, header.height_px, 1.0, 1.0)
    eighths = min(8, max(1, math.ceil(scale * 8)))
    if eighths == 7:
        # libjpeg's transform to 7/8 takes twice as long as decoding at full size, which also keeps more detail.
        eighths = 8
    pixels = _decode_jpeg(encoded, -(-header.height_px * eighths // 8), -(-header.width_px * eighths // 8))
    # libjpeg gives ceil(size · M / 8): the size tells which M it chose.
    for m in range(1, 9):
        if pixels.shape == (-(-header.height_px * m // 8), -(-header.width_px * m // 8), 3):
            return Decoded(pixels, header.width_px, header.height_px, m / 8, m / 8)
    raise _other_than_said(header, pixels.shape)


def bounded_header(encoded: bytes) -> ImageHeader:
    """The header of an image that is small enough to decode, of any orientation.

    Raises:
        DataError: neither JPEG nor PNG, a damaged header, too large, too many scans, or a JPEG that is not of 8 bits.
    """
    if len(encoded) > MAX_ENCODED_BYTES:
        raise DataError(f"image file of {len(encoded)} bytes, at most {MAX_ENCODED_BYTES} are read")
    header = read_header(encoded, MAX_SCANS)
    size = f"{header.width_px}x{header.height_px} px"
    pixels = header.width_px * header.height_px
    if not (0 < pixels <= MAX_DECODED_PIXELS):
        raise DataError(f"image of {size}, expected 1 to {MAX_DECODED_PIXELS} pixels")
    most_scans = min(MAX_SCANS, MAX_SCANNED_PIXELS // pixels)
    if header.scans > most_scans:
        found = f"more than {most_scans} scans"
        raise DataError(f"progressive JPEG of {size} in {found}: decoding would take too long; write it anew")
    if header.kind is ImageKind.JPEG and header.bits != 8:
        raise DataError(f"JPEG of {header.bits} bits a sample, 8 are read: convert it")
    return header


def _upright_header(encoded: bytes) -> ImageHeader:
    header = bounded_header(encoded)
    if header.orientation != UPRIGHT:
        raise TurnedImageError(header.kind, header.orientation)
    return header


def _decode_jpeg(encoded: bytes, least_height: int, least_width: int) -> NDArray[np.uint8]:
    """RGB, perhaps reduced; tolerates the stray bytes that some cameras leave between segments or after the pixels."""
    decode: Callable[..., NDArray[np.uint8]] = partial(
        simplejpeg.decode_jpeg, colorspace="RGB", min_height=least_height, min_width=least_width
    )
    try:
        try:
            return decode(encoded, min_factor=1)
        except ValueError as error:
            if STRAY_BYTES not in str(error):
                raise
        tidy = without_stray_bytes(encoded)
        try:
            return decode(tidy, min_factor=1)
        except ValueError as error:
            # libjpeg reports only the first fault; here it lies after the last pixel, so the pixels are sound.
            if f"{STRAY_BYTES} before marker 0xd9" not in str(error):
                raise
        return decode(tidy, min_factor=1, strict=False)
    except ValueError as error:
        raise DataError(f"damaged JPEG: {error}") from None


def _decode_png(encoded: bytes, header: ImageHeader) -> NDArray[np.uint8]:
    """Pixels as stored: without a flag OpenCV would turn them as EXIF says."""
    deep = header.bits == 16
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION | (cv2.IMREAD_ANYDEPTH if deep else 0)
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    if pixels is None:
        raise DataError("damaged PNG: its pixels cannot be decoded")
    if pixels.shape != (header.height_px, header.width_px, 3):
        raise _other_than_said(header, pixels.shape)
    return _eight_bits(pixels, header.significant_bits) if deep else pixels


def _eight_bits(pixels: NDArray[np.uint16], significant_bits: int) -> NDArray[np.uint8]:
    """The high byte of each value; values that were never scaled up to 16 bits are scaled first.

    PNG wants samples of fewer bits scaled up and their number of bits in sBIT; some writers give sBIT but do not scale.
    """
    bits, largest = max(significant_bits, 8), int(pixels.max())
    if bits < 16 and largest < 1 << bits and not _scaled_up(pixels, bits):
        pixels = (pixels << (16 - bits)).astype(np.uint16)
    elif bits == 16 and 0 < largest < DARKEST_16_BIT:
        raise DataError(
            f"16-bit PNG whose largest value is {largest} of 65535, black when shown: are these values of"
            f" {largest.bit_length()} bits? scale them to 16 bits, or to 8"
        )
    return (pixels >> 8).astype(np.uint8)


def _scaled_up(pixels: NDArray[np.uint16], bits: int) -> bool:
    """Whether each value lies in its top `bits` bits, with zeros or its highest bits again below them."""
    high = pixels >> (16 - bits)
    zeros = high << (16 - bits)
    return bool(((pixels == zeros) | (pixels == zeros | high >> (2 * bits - 16))).all())


def _other_than_said(header: ImageHeader, shape: tuple[int, ...]) -> DataError:
    said = f"{header.width_px}x{header.height_px} px"
    return DataError(f"{header.kind} decodes to an array of {shape}, its header says {said}: write it anew")
