"""Milliseconds to find, choose and sample the pairs of a clip: `python bench/bench_pairs.py`. Prints one table."""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.table import Table

from vlm3.geometry.depth import DepthKind
from vlm3.scenes.schema import Frame
from vlm3.sources.rooms.reader import RoomsConfig, RoomsReader
from vlm3.views.pair_choice import choose_pair
from vlm3.views.pair_sample import pair_sample
from vlm3.views.pairs import clip_pairs
from vlm3.views.unify import UnifiedView, UnifyPolicy, unified_camera

FRAMES = 16
REPEATS = 30
SCENES = 24


def milliseconds(work: Callable[[], object]) -> float:
    """Median CPU time of one call."""
    times = []
    for _ in range(REPEATS + 1):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return 1e3 * statistics.median(times[1:])


def view(frame: Frame) -> UnifiedView:
    """A unified view without its picture: decoding is measured by bench_unify."""
    camera = unified_camera(frame.camera, UnifyPolicy(300.0, 32, 1024, 2**22))
    return UnifiedView(np.zeros((camera.height_px, camera.width_px, 3), np.uint8), camera, frame.camera)


def main() -> None:
    """Time a clip of each lens, with depth and without."""
    table = Table(title=f"pairs of a clip of {FRAMES} frames, 640×480 px, CPU time, images not decoded")
    for column in ("lens", "overlap by", "pairs", "graph, ms a clip", "choice, ms", "sample, ms a pair", "points"):
        table.add_column(column, justify="right")
    reader = RoomsReader(RoomsConfig(scenes=SCENES, frames_per_scene=FRAMES, width_px=640, height_px=480))
    seen = set()
    for scene in reader.scenes():
        lens = next(iter(reader.frames(scene))).camera.distortion
        if lens in seen:
            continue
        seen.add(lens)
        deep = list(reader.frames(scene))
        bare = [replace(frame, small_depth=None, points=np.empty((0, 3), np.float32)) for frame in deep]
        for name, frames in (("depth", deep), ("frusta", bare)):
            table.add_row(lens.value, name, *figures(frames))
    Console().print(table)


def figures(frames: list[Frame]) -> tuple[str, ...]:
    """Of one clip."""
    pairs = clip_pairs(frames)
    first, second, _ = choose_pair(pairs, 0, 0)
    ends, views = (frames[first], frames[second]), (view(frames[first]), view(frames[second]))

    def sample() -> int:
        pair = pair_sample(*ends, *views, overlap=0.5, target=DepthKind.RAY, position=None)
        return len(pair.points1_px)

    graph_ms, choice_ms = milliseconds(lambda: clip_pairs(frames)), milliseconds(lambda: choose_pair(pairs, 3, 1))
    return f"{len(pairs)}", f"{graph_ms:.1f}", f"{choice_ms:.2f}", f"{milliseconds(sample):.2f}", f"{sample()}"


if __name__ == "__main__":
    main()
