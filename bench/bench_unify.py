"""Images a second and core through focal unification: `python bench/bench_unify.py`. Prints one table."""

import statistics
import time

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from vlm3.geometry.camera import Camera, Distortion
from vlm3.views.unify import GridPolicy, UnifyPolicy, unify

FOCALS_PX = (70, 300, 1000)
LENSES = {
    "none": (Distortion.NONE, ()),
    "brown": (Distortion.BROWN, (-0.1, 0.02, 0.001, -0.001)),
    "fisheye": (Distortion.FISHEYE, (-0.02, 0.004, 0.0, 0.0)),
}
REPEATS = 30


def milliseconds(encoded: bytes, camera: Camera, focal_px: float) -> float:
    """Median of one image; the camera is the same each time, as in a video."""
    policy = UnifyPolicy(focal_px, GridPolicy.CROP, 32, 1024, 2**24)
    times = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        unify(encoded, camera, policy)
        times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times[1:])


def main() -> None:
    """Time every lens at every target focal."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (480, 640, 3)).astype(np.uint8), (0, 0), 2)
    encoded = cv2.imencode(".jpg", picture)[1].tobytes()
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


if __name__ == "__main__":
    main()
