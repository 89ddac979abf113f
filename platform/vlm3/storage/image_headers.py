"""The header of a JPEG or PNG: size, bits, scans, orientation. No pixels are decoded."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from vlm3.errors import DataError

JPEG_SIGNATURE, PNG_SIGNATURE = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
MOST_SEGMENTS = 100_000
"""Most segments read in one file, in 0.1 s. Real files have tens; PNGs with one chunk per row have some thousands."""
UPRIGHT = 1
SIDEWAYS = (5, 6, 7, 8)
"""Orientations whose rows are the columns of the picture as it is shown."""
_ORIENTATION_TAG = 0x0112
_TIFF_INTEGERS = {1: "B", 3: "H", 4: "I"}
_SOI, _EOI, _SOS, _APP1 = 0xD8, 0xD9, 0xDA, 0xE1
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD8), _SOI}
_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_MARKER = re.compile(rb"\xff([^\x00\xff])")
"""Next marker between segments: bytes that are not a marker are skipped, as libjpeg does."""
_MARKER_IN_SCAN = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
"""Next marker after entropy-coded data, in which FF is followed by 00 or is part of a restart marker."""


class ImageKind(StrEnum):
    """Image formats that can be read."""

    JPEG = "JPEG"
    PNG = "PNG"


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What the header of an image says."""

    kind: ImageKind
    width_px: int
    height_px: int
    bits: int
    """Bits of a sample as stored."""
    significant_bits: int
    """Bits of a sample that carry information, as PNG's sBIT chunk declares them; else `bits`."""
    scans: int
    """Passes over the picture that its decoder makes."""
    orientation: int
    """EXIF orientation, 1 to 8; 1 (upright) where there is no tag or a reserved value.

    An orientation that stands only in an XMP packet (`tiff:Orientation`) is ignored, as by OpenCV, libjpeg, libvips and
    browsers, unlike Pillow and Windows. Such files mostly come from programs that turned the pixels and removed the
    EXIF tag but not this copy of it: obeying the copy would turn them twice.
    """

    @property
    def shown_width_px(self) -> int:
        """Width of the picture as viewers show it, turned as EXIF says."""
        return self.height_px if self.orientation in SIDEWAYS else self.width_px

    @property
    def shown_height_px(self) -> int:
        """Height of the picture as viewers show it, turned as EXIF says."""
        return self.width_px if self.orientation in SIDEWAYS else self.height_px


def read_header(encoded: bytes, most_scans: int) -> ImageHeader:
    """Read the header of a JPEG or PNG.

    Args:
        encoded: bytes of the file.
        most_scans: counting of scans stops at one more than this.

    Raises:
        DataError: neither JPEG nor PNG, or a damaged header.
    """
    if encoded.startswith(PNG_SIGNATURE):
        return _png(encoded)
    if encoded.startswith(JPEG_SIGNATURE):
        return _jpeg(encoded, most_scans)
    raise DataError(f"expected a JPEG or PNG image, found bytes that start with {encoded[:8]!r}")


def without_stray_bytes(jpeg: bytes) -> bytes:
    """A JPEG without the bytes between the segments of its header that belong to none. Raises as `read_header`."""
    pieces = [jpeg[:2]]
    for marker, start, end in _segments(jpeg):
        pieces.append(jpeg[start - 2 :] if marker == _SOS else jpeg[start - 2 : end])
    return b"".join(pieces)


def _segments(jpeg: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of each segment from its length field on, up to and with the first scan's (T.81, B)."""
    at, marker = 2, _SOI
    for _ in range(MOST_SEGMENTS):
        found = _MARKER.search(jpeg, at)
        if found is None or found[1][0] == _EOI:
            raise DataError("damaged JPEG: it ends before its pixels")
        marker, at = found[1][0], found.end()
        if marker in _WITHOUT_LENGTH:
            continue
        size = int.from_bytes(jpeg[at : at + 2], "big")
        if size < (3 if marker == _SOS else 2) or at + size > len(jpeg):
            raise DataError(f"damaged JPEG: it ends inside segment FF{marker:02X} of its header")
        yield marker, at, at + size
        if marker == _SOS:
            return
        at += size
    raise DataError(f"damaged JPEG: more than {MOST_SEGMENTS} segments before its pixels")


def _jpeg(encoded: bytes, most_scans: int) -> ImageHeader:
    orientation, frame, scans = UPRIGHT, None, 1
    for marker, start, end in _segments(encoded):
        if marker in _START_OF_FRAME and frame is None and end - start >= 8:
            frame = struct.unpack(">BHHB", encoded[start + 2 : start + 8])
            progressive = marker in _PROGRESSIVE
        elif marker == _APP1 and orientation == UPRIGHT and encoded.startswith(b"Exif\0\0", start + 2):
            orientation = _tiff_orientation(encoded[start + 8 : end])
        elif marker == _SOS and frame is not None and (progressive or encoded[start + 2] < frame[3]):
            scans = _scans(encoded, start, most_scans)
    if frame is None:
        raise DataError("damaged JPEG: its header does not say how large it is")
    bits, height, width, _ = frame
    return ImageHeader(ImageKind.JPEG, width, height, bits, bits, scans, orientation)


def _scans(jpeg: bytes, at: int, most: int) -> int:
    """Number of scans up to the end of the image, the first one's header starting at `at`; at most `most` + 1."""
    scans, marker = 0, _SOS
    for _ in range(MOST_SEGMENTS):
        scans += marker == _SOS
        if marker not in _WITHOUT_LENGTH:
            at += int.from_bytes(jpeg[at : at + 2], "big")
        found = _MARKER_IN_SCAN.search(jpeg, at)
        if found is None or found[1][0] == _EOI or scans > most:
            return scans
        marker, at = found[1][0], found.end()
    raise DataError(f"damaged JPEG: more than {MOST_SEGMENTS} segments")


def _png(encoded: bytes) -> ImageHeader:
    """Header of a PNG (W3C PNG, third edition): its chunks have a length, a name, content and a checksum."""
    if len(encoded) < 24:
        raise DataError("damaged PNG ends inside its header")
    # The size is read even where the rest is missing, so that it is bounded first; decoders find what is damaged.
    width, height, bits, colour = struct.unpack(">IIBB", encoded[16:26].ljust(10, b"\x08"))
    orientation, significant = UPRIGHT, bits
    at = 33
    for _ in range(MOST_SEGMENTS):
        if at + 12 > len(encoded):
            break
        size, name = struct.unpack(">I4s", encoded[at : at + 8])
        content = encoded[at + 8 : at + 8 + size] if name in (b"eXIf", b"sBIT") else b""
        if name == b"eXIf" and orientation == UPRIGHT:
            # Some writers keep the prefix that EXIF data has in a JPEG.
            orientation = _tiff_orientation(content.removeprefix(b"Exif\0\0"))
        elif name == b"sBIT" and content:
            significant = min(bits, max(content[: 1 if colour in (0, 4) else 3]))
        elif name == b"IEND":
            break
        at += 12 + size
    else:
        raise DataError(f"damaged PNG: more than {MOST_SEGMENTS} chunks")
    return ImageHeader(ImageKind.PNG, width, height, bits, significant, 1, orientation)


def _tiff_orientation(tiff: bytes) -> int:
    """The orientation tag of the first directory (Exif 2.32, 4.6.5); upright where it is missing or reserved."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return UPRIGHT
    (first,) = struct.unpack(order + "I", tiff[4:8])
    if first + 2 > len(tiff):
        return UPRIGHT
    (count,) = struct.unpack(order + "H", tiff[first : first + 2])
    for entry in range(first + 2, min(first + 2 + 12 * count, len(tiff) - 11), 12):
        tag, form = struct.unpack(order + "HH", tiff[entry : entry + 4])
        if tag == _ORIENTATION_TAG and form in _TIFF_INTEGERS:
            (value,) = struct.unpack_from(order + _TIFF_INTEGERS[form], tiff, entry + 8)
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT
