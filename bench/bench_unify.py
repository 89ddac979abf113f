"""Images a second and core through focal unification, and what a lens costs whose K is new: two tables.

`python bench/bench_unify.py`
"""

import statistics
import time

import cv2
import numpy as np
import simplejpeg
from rich.console import Console
from rich.table import Table

from vlm3.geometry.camera import Camera, Distortion
from vlm3.geometry.ray_extent import ray_extent
from vlm3.views.unify import UnifyPolicy, unified_camera, unify

FOCALS_PX = (70, 300, 1000)
LENSES = {
    "none": (Distortion.NONE, ()),
    "brown": (Distortion.BROWN, (-0.1, 0.02, 0.001, -0.001)),
    "fisheye": (Distortion.FISHEYE, (-0.02, 0.004, 0.0, 0.0)),
}
REPEATS = 30
COLD_SIZE_PX = (1824, 1344)
COLD_FOCAL_PX = 1500.0


def milliseconds(encoded: bytes, camera: Camera, focal_px: float) -> float:
    """Median of one image; the camera is the same each time, as in a video."""
    policy = UnifyPolicy(focal_px, 32, 1024, 2**24)
    times = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        unify(encoded, camera, policy)
        times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times[1:])


def bare(encoded: bytes, camera: Camera, target: Camera) -> None:
    """Decode, OpenCV's map for this K, OpenCV's look-up; the window is known beforehand."""
    pixels = simplejpeg.decode_jpeg(encoded, "RGB")
    coefficients, size = np.array(camera.coefficients)[:, None], (target.width_px, target.height_px)
    fisheye = camera.distortion is Distortion.FISHEYE
    make = cv2.fisheye.initUndistortRectifyMap if fisheye else cv2.initUndistortRectifyMap
    maps = make(camera.K, coefficients, np.eye(3), target.K, size, cv2.CV_32FC1)
    kind = cv2.INTER_CUBIC if target.fx_px > camera.fx_px else cv2.INTER_LINEAR
    cv2.remap(pixels, *maps, kind, borderMode=cv2.BORDER_REPLICATE)


def cold(encoded: bytes, model: Distortion, coefficients: tuple[float, ...]) -> tuple[float, float]:
    """Milliseconds of this one thread, bare and ours in turn: medians of images each of which has a K of its own."""
    policy = UnifyPolicy(COLD_FOCAL_PX, 32, 1024, 2**24)
    width_px, height_px = COLD_SIZE_PX
    bare_s, ours_s = [], []
    for number in range(REPEATS + 1):
        f = COLD_FOCAL_PX + 1 + number
        camera = Camera(width_px, height_px, f, f, width_px / 2 + number / 7, height_px / 2, model, coefficients)
        target = unified_camera(camera, policy)
        ray_extent.cache_clear()  # nothing is known of this camera
        started = time.thread_time()
        bare(encoded, camera, target)
        between = time.thread_time()
        unify(encoded, camera, policy)
        bare_s.append(between - started)
        ours_s.append(time.thread_time() - between)
    return 1e3 * statistics.median(bare_s[1:]), 1e3 * statistics.median(ours_s[1:])


def blurred_noise(width_px: int, height_px: int) -> bytes:
    """A JPEG."""
    noise = np.random.default_rng(0).integers(0, 256, (height_px, width_px, 3)).astype(np.uint8)
    encoded: bytes = cv2.imencode(".jpg", cv2.GaussianBlur(noise, (0, 0), 2))[1].tobytes()
    return encoded


def main() -> None:
    """Time every lens at every target focal, then each lens with a new K an image."""
    cv2.setNumThreads(1)
    encoded = blurred_noise(640, 480)
    started = time.perf_counter()
    for _ in range(REPEATS):
        cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    decode_ms = 1e3 * (time.perf_counter() - started) / REPEATS
    table = Table(title=f"640×480 JPEG, fx 525 px; decoding alone takes {decode_ms:.2f} ms")
    for column in ("lens", "to f (px)", "ms", "images/s", "× decoding"):
        table.add_column(column, justify="right")
    for name, (model, coefficients) in LENSES.items():
        camera = Camera(640, 480, 525.0, 525.0, 319.5, 239.5, model, coefficients)
        for focal_px in FOCALS_PX:
            ms = milliseconds(encoded, camera, focal_px)
            table.add_row(name, f"{focal_px}", f"{ms:.2f}", f"{1e3 / ms:.0f}", f"{ms / decode_ms:.1f}")
    Console().print(table)
    encoded = blurred_noise(*COLD_SIZE_PX)
    table = Table(title="{}×{} JPEG, a new K each, decoding included, CPU time".format(*COLD_SIZE_PX))
    for column in ("lens", "bare OpenCV, ms", "ours, ms", "ratio"):
        table.add_column(column, justify="right")
    for name, (model, coefficients) in LENSES.items():
        if model is not Distortion.NONE:
            bare_ms, ours_ms = cold(encoded, model, coefficients)
            table.add_row(name, f"{bare_ms:.1f}", f"{ours_ms:.1f}", f"{ours_ms / bare_ms:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
