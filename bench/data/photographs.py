"""JPEGs that cost what photographs cost: real ones where there are some, otherwise textured renderings."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from vlm3.sources.rooms.reader import RoomsConfig, RoomsReader
from vlm3.storage.images import decode_rgb

QUALITY = 90
RENDERED_WIDTH_PX = 160


@dataclass(frozen=True, slots=True)
class Photographs:
    """Encoded images of one size."""

    encoded: tuple[bytes, ...]
    origin: str


def photographs(width_px: int, height_px: int, count: int, folder: Path | None) -> Photographs:
    """`count` JPEGs: the largest images below `folder`, resized and cut to the size, or rendered ones."""
    if folder is None:
        reader = RoomsReader(RoomsConfig(scenes=count, frames_per_scene=1))
        frames = [next(reader.frames(scene)) for scene in reader.scenes()]
        pictures = [
            textured(decode_rgb(frame.encoded_image), width_px, height_px, seed) for seed, frame in enumerate(frames)
        ]
        return Photographs(tuple(map(encode, pictures)), "textured renderings")
    files = [path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")]
    if not files:
        raise SystemExit(f"{folder}: no JPEG below it; give a folder of photographs, or none for rendered ones")
    largest = sorted(files, key=lambda path: (-path.stat().st_size, str(path)))[:count]
    pictures = [_cover(decode_rgb(path.read_bytes()), width_px, height_px) for path in largest]
    return Photographs(tuple(map(encode, pictures)), f"{len(pictures)} photographs below {folder}")


def textured(picture: NDArray[np.uint8], width_px: int, height_px: int, seed: int) -> NDArray[np.uint8]:
    """A rendering enlarged, with detail at every scale and the noise of a sensor."""
    rng = np.random.default_rng(seed)
    large = cv2.resize(picture, (width_px, height_px), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    texture = np.zeros((height_px, width_px), np.float32)
    for octave in range(1, 7):
        shape = (height_px >> octave) + 1, (width_px >> octave) + 1
        grain = rng.standard_normal(shape, np.float32) * 1.35**octave
        texture += cv2.resize(grain, (width_px, height_px), interpolation=cv2.INTER_CUBIC)
    noise = rng.standard_normal(large.shape, np.float32)
    return np.clip(large + 2.5 * texture[..., None] + 1.5 * noise, 0, 255).astype(np.uint8)


def encode(picture: NDArray[np.uint8]) -> bytes:
    """A JPEG as cameras write it: 4:2:0."""
    encoded: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), QUALITY, "RGB", "420")
    return encoded


def _cover(picture: NDArray[np.uint8], width_px: int, height_px: int) -> NDArray[np.uint8]:
    """The middle of a picture that is scaled until it covers the size."""
    scale = max(width_px / picture.shape[1], height_px / picture.shape[0])
    size = (max(width_px, round(picture.shape[1] * scale)), max(height_px, round(picture.shape[0] * scale)))
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    y, x = (scaled.shape[0] - height_px) // 2, (scaled.shape[1] - width_px) // 2
    return np.ascontiguousarray(scaled[y : y + height_px, x : x + width_px])
