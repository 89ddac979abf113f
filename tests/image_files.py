"""Image files as cameras and converters write them: with tags, odd bytes, deep samples, many scans."""

import io
import struct
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

PIXELS = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8), (0, 0), 3)


def written(kind: str, image: NDArray[np.uint8] | Image.Image = PIXELS, **options: object) -> bytes:
    """An image as Pillow writes it; `options` are Pillow's."""
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **options)
    return stream.getvalue()


def exif(orientation: int, order: str = ">", form: int = 3) -> bytes:
    """A TIFF block with one entry: the orientation as a short (3) or a long (4)."""
    value = struct.pack(order + ("HH" if form == 3 else "I"), *((orientation, 0) if form == 3 else (orientation,)))
    mark = b"MM" if order == ">" else b"II"
    entry = struct.pack(order + "HHHI", 1, 0x0112, form, 1) + value
    return mark + struct.pack(order + "HI", 42, 8) + entry + bytes(4)


def segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """A JPEG with segments (or other bytes) right after its start."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_chunk(png: bytes, name: bytes, content: bytes, last: bool = False) -> bytes:
    """A PNG with one more chunk, after its header or as the last before its end."""
    at = len(png) - 12 if last else 33
    return png[:at] + chunk(name, content) + png[at:]


def turned(kind: str, orientation: int, image: NDArray[np.uint8] = PIXELS) -> bytes:
    """A JPEG or PNG with an orientation tag."""
    return written(kind, image, exif=b"Exif\0\0" + exif(orientation))


def turned_in_xmp(kind: str, orientation: int, element: bool, image: NDArray[np.uint8] = PIXELS) -> bytes:
    """A JPEG or PNG whose only orientation is in an XMP packet, as an element or as an attribute."""
    said = (
        f"><tiff:Orientation>{orientation}</tiff:Orientation></rdf:Description>"
        if element
        else f' tiff:Orientation="{orientation}"/>'
    )
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/"{said}</rdf:RDF></x:xmpmeta>'
    ).encode()
    if kind == "JPEG":
        return with_segments(written(kind, image), segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet))
    return with_chunk(written(kind, image), b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)


def many_scans(count: int, width_px: int, height_px: int) -> bytes:
    """A small progressive JPEG whose last scan, almost empty, is repeated until there are `count`."""
    jpeg = written("JPEG", np.full((height_px, width_px, 3), 128, np.uint8), progressive=True)
    last = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    return jpeg[:-2] + last * (count - jpeg.count(b"\xff\xda")) + jpeg[-2:]
