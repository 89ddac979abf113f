"""Rendered frames a second and core: `python bench/bench_rooms.py`. Prints one table."""

import time

from rich.console import Console
from rich.table import Table

from vlm3.sources.rooms.reader import RoomsConfig, RoomsReader

SIZES = ((160, 120), (640, 480))
FRAMES_PER_SCENE = 8


def main() -> None:
    """Render scenes of two sizes; time is that of this process alone."""
    table = Table(title="rendered rooms: RGB, depth, boxes, labels, encoded")
    for column in ("size", "frames", "frames/s/core"):
        table.add_column(column, justify="right")
    for width_px, height_px in SIZES:
        scenes = max(2, 12 * SIZES[0][0] // width_px)
        reader = RoomsReader(RoomsConfig(scenes=scenes + 1, width_px=width_px, height_px=height_px))
        list(reader.frames(reader.scenes()[-1]))
        started = time.process_time()
        count = sum(1 for scene in reader.scenes()[:scenes] for _ in reader.frames(scene))
        table.add_row(f"{width_px}×{height_px}", f"{count}", f"{count / (time.process_time() - started):.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
