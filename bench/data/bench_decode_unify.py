"""What unifying an image costs beside the bare calls and beside the usual resize, and how true each is.

`python bench/data/bench_decode_unify.py [--photos FOLDER] [--runs N]` prints one table a case.
"""

import io
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import simplejpeg
from numpy.typing import NDArray
from photographs import photographs
from rounds import arguments, in_turn, show

from vlm3.geometry.camera import Camera
from vlm3.views.unify import UnifyPolicy, unified_camera, unify
from vlm3.views.warp import valid_mask

POLICY = UnifyPolicy(1000.0, 32, 4096, 16_777_216)
CASES = {
    "shrinking": Camera(1920, 1280, 2050.0, 2050.0, 960.3, 640.7),
    "enlarging": Camera(640, 480, 519.0, 519.0, 320.3, 240.7),
}
SUPERSAMPLING = 4
Image = NDArray[np.uint8]
Way = Callable[[bytes], Image]


def ours(camera: Camera) -> Way:
    """The platform's function, checks and all."""
    return lambda encoded: unify(encoded, camera, POLICY).image


def bare_resize(camera: Camera) -> Way:
    """The fewest calls that do the same: everything that can be known beforehand is."""
    target = unified_camera(camera, POLICY)
    scale = POLICY.focal_px / camera.fx_px
    eighths = 4 if scale < 0.5 else 8
    height, width, factor = -(-camera.height_px * eighths // 8), -(-camera.width_px * eighths // 8), scale * 8 / eighths
    x, y = _window_corner(camera, target)
    kind = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR

    def way(encoded: bytes) -> Image:
        pixels = simplejpeg.decode_jpeg(encoded, "RGB", min_height=height, min_width=width, min_factor=1)
        plane = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=kind)
        return _padded(plane[y : y + target.height_px, x : x + target.width_px], target)

    return way


def bare_warp(camera: Camera) -> Way:
    """The textbook's way: one affine warp of the reduced image."""
    target = unified_camera(camera, POLICY)
    k = 0.5 if POLICY.focal_px / camera.fx_px < 0.5 else 1.0
    height, width = round(camera.height_px * k), round(camera.width_px * k)
    a = camera.fx_px / POLICY.focal_px
    bx, by = camera.cx_px - target.cx_px * a, camera.cy_px - target.cy_px * a
    matrix = np.array([[a * k, 0, (bx + 0.5) * k - 0.5], [0, a * k, (by + 0.5) * k - 0.5]])
    flags = (cv2.INTER_CUBIC if a < 1 else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP

    def way(encoded: bytes) -> Image:
        pixels = simplejpeg.decode_jpeg(encoded, "RGB", min_height=height, min_width=width, min_factor=1)
        size = (target.width_px, target.height_px)
        return cv2.warpAffine(pixels, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)

    return way


def usual_opencv(camera: Camera) -> Way:
    """Full decode, bicubic resize to whole pixels, the same window: K is no longer quite true."""
    target = unified_camera(camera, POLICY)
    size, (x, y, width, height) = _usual_window(camera)

    def way(encoded: bytes) -> Image:
        pixels = simplejpeg.decode_jpeg(encoded, "RGB")
        resized = cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC)
        return _padded(resized[y : y + height, x : x + width], target)

    return way


def usual_pillow(camera: Camera) -> Way:
    """The same with Pillow, as most training scripts have it."""
    size, (x, y, width, height) = _usual_window(camera)

    def way(encoded: bytes) -> Image:
        resized = PIL.Image.open(io.BytesIO(encoded)).convert("RGB").resize(size, PIL.Image.Resampling.BICUBIC)
        return np.asarray(resized.crop((x, y, x + width, y + height)))

    return way


def _padded(part: Image, target: Camera) -> Image:
    """Black on the right and below, up to the size of the unified image."""
    if part.shape[:2] == (target.height_px, target.width_px):
        return part
    image = np.zeros((target.height_px, target.width_px, 3), np.uint8)
    image[: part.shape[0], : part.shape[1]] = part
    return image


def _window_corner(camera: Camera, target: Camera) -> tuple[int, int]:
    """Where the unified image begins in the scaled one."""
    scale = target.fx_px / camera.fx_px
    x, y = (camera.cx_px + 0.5) * scale - 0.5 - target.cx_px, (camera.cy_px + 0.5) * scale - 0.5 - target.cy_px
    return round(x), round(y)


def _usual_window(camera: Camera) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    target = unified_camera(camera, POLICY)
    scale = target.fx_px / camera.fx_px
    size = (round(camera.width_px * scale), round(camera.height_px * scale))
    return size, (*_window_corner(camera, target), target.width_px, target.height_px)


def reference(encoded: bytes, camera: Camera) -> NDArray[np.float64]:
    """The mean of 4 × 4 look-ups a unified pixel in the whole image, in floating point; slow and exact."""
    target = unified_camera(camera, POLICY)
    full = simplejpeg.decode_jpeg(encoded, "RGB").astype(np.float32)
    steps = (np.arange(SUPERSAMPLING) + 0.5) / SUPERSAMPLING - 0.5
    kind = cv2.INTER_CUBIC if POLICY.focal_px > camera.fx_px else cv2.INTER_LINEAR
    total = np.zeros((target.height_px, target.width_px, 3))
    for dy in steps:
        for dx in steps:
            v, u = np.mgrid[: target.height_px, : target.width_px].astype(np.float64)
            points = camera.project(target.unproject(np.stack([(u + dx).ravel(), (v + dy).ravel()], -1)))
            map_x, map_y = (axis.reshape(u.shape) for axis in points.astype(np.float32).T)
            total += cv2.remap(full, map_x, map_y, kind, borderMode=cv2.BORDER_REPLICATE)
    return total / SUPERSAMPLING**2


def psnr_db(image: Image, truth: NDArray[np.float64], mask: NDArray[np.bool_]) -> float:
    """Peak signal to noise where the source shows; its outermost pixels, that ways may replicate, are left out."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((9, 9), np.uint8), borderValue=0).astype(bool)
    error = (image - truth)[inner]
    return float(10 * np.log10(255**2 / np.square(error).mean()))


def milliseconds(way: Way, images: tuple[bytes, ...]) -> float:
    """Processor time of this one thread an image: neighbours on the machine do not count."""
    started = time.thread_time()
    for encoded in images:
        way(encoded)
    return 1e3 * (time.thread_time() - started) / len(images)


def main() -> None:
    """Time and judge every way for an image that shrinks and one that is enlarged."""
    parser = arguments(__doc__, runs=15)
    parser.add_argument("--photos", type=Path, default=None, help="folder of JPEGs; rendered images without it")
    parser.add_argument("--images", type=int, default=8)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    for case, camera in CASES.items():
        images = photographs(camera.width_px, camera.height_px, options.images, options.photos)
        ways = {
            "bare resize": bare_resize(camera),
            "ours": ours(camera),
            "bare warp": bare_warp(camera),
            "usual, OpenCV": usual_opencv(camera),
            "usual, Pillow": usual_pillow(camera),
        }
        target = unified_camera(camera, POLICY)
        mask = valid_mask(camera, target)
        truth = [reference(encoded, camera) for encoded in images.encoded]
        quality = [
            f"{np.mean([psnr_db(way(e), t, mask) for e, t in zip(images.encoded, truth, strict=True)]):.1f}"
            for way in ways.values()
        ]
        timed = {name: partial(milliseconds, way, images.encoded) for name, way in ways.items()}
        in_turn(timed, 1)
        bits = 8 * sum(map(len, images.encoded)) / (len(images.encoded) * camera.width_px * camera.height_px)
        title = (
            f"{case}: {camera.width_px}×{camera.height_px} px, f {camera.fx_px:g} → {POLICY.focal_px:g} px,"
            f" {target.width_px}×{target.height_px} px; {images.origin}, {bits:.1f} bits/px; one core"
        )
        show(title, in_turn(timed, options.runs), "ms/image", "bare resize", {"PSNR, dB": quality})


if __name__ == "__main__":
    main()
