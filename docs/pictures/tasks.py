"""Draws docs/pictures/tasks.png: a rendered room, and a question of each task. `python docs/pictures/tasks.py`."""

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vlm3.asking.protocol import Turn
from vlm3.geometry.depth import DepthKind
from vlm3.sources.rooms.reader import RoomsConfig, RoomsReader
from vlm3.tasks.correspondence.task import CorrespondenceTask, CorrespondenceTaskConfig
from vlm3.tasks.depth.task import DepthTask, DepthTaskConfig
from vlm3.tasks.objects.task import ObjectsTask, ObjectsTaskConfig
from vlm3.tasks.pose.task import PoseTask, PoseTaskConfig
from vlm3.views.pair_sample import pair_sample
from vlm3.views.pairs import clip_pairs
from vlm3.views.sample import view_sample
from vlm3.views.unify import UnifyPolicy, unify

TARGET = Path(__file__).with_name("tasks.png")
POLICY = UnifyPolicy(focal_px=320, token_px=32, min_pixels=32 * 32, max_pixels=1 << 20)
COLOURS = ("#ffd23f", "#3bceac")
GAP_PX = 12
RANGES = {"depth": 2000, "correspondence": 1000, "objects": 1000}
"""What coordinates in the texts are normalised to."""


def main() -> None:
    """Render, ask, draw."""
    reader = RoomsReader(RoomsConfig(scenes=6, frames_per_scene=6, width_px=640, height_px=480, seed=4))
    frames = list(reader.frames(reader.scenes()[3]))
    pair = max(clip_pairs(frames), key=lambda found: found.overlap * found.baseline_m)
    first, second = frames[pair.first], frames[pair.second]
    unified = [unify(frame.encoded_image, frame.camera, POLICY) for frame in (first, second)]
    view = view_sample(first, unified[0], DepthKind.RAY, None)
    both = pair_sample(first, second, *unified, overlap=pair.overlap, target=DepthKind.Z, position=None)
    rng = np.random.default_rng(1)
    pair_images = [view.image for view in both.views]
    shown = (
        ("depth", [view.image], DepthTask(DepthTaskConfig()).ask(view, rng), r"^[\d.]+$"),
        ("correspondence", pair_images, CorrespondenceTask(CorrespondenceTaskConfig()).ask(both, rng), ","),
        ("pose", pair_images, PoseTask(PoseTaskConfig()).ask(both, rng), "yaw"),
        ("objects", [view.image], ObjectsTask(ObjectsTaskConfig()).ask(view, rng), r"^[\d.]+$"),
    )
    figure = Figure(figsize=(13, 9))
    for number, (task, images, conversation, answer) in enumerate(shown):
        turn = next(turn for turn in conversation.turns if re.search(answer, turn.answer))
        left, bottom = 0.01 + 0.5 * (number % 2), 0.5 - 0.5 * (number // 2)
        axis = figure.add_axes((left, bottom + 0.15, 0.48, 0.31))
        axis.set_title(task, fontsize=15, weight="bold", loc="left")
        axis.set_axis_off()
        show(axis, images, turn, RANGES.get(task, 1))
        words = "\n".join([*textwrap.wrap(turn.question, 58), f"→ {turn.answer}"])
        figure.text(left, bottom + 0.135, words, fontsize=12, va="top", family="monospace")
    figure.savefig(TARGET, dpi=80)


def show(axis: Axes, images: Sequence[np.ndarray], turn: Turn, n: int) -> None:
    """Draw images side by side, what the question names in the first, and what the answer names in the second."""
    height, width = images[0].shape[:2]
    gap = np.full((height, GAP_PX, 3), 255, np.uint8)
    bright = [np.minimum(image.astype(float) * 1.6, 255).astype(np.uint8) for image in images]
    axis.imshow(np.hstack([bright[0], *(part for image in bright[1:] for part in (gap, image))]))
    axis.set_anchor("W")
    for start, text in zip((0, width + GAP_PX), (turn.question, turn.answer), strict=True):
        for x, y in re.findall(r"\((\d+), (\d+)\)", text):
            place = (start + int(x) / n * width, int(y) / n * height)
            axis.plot(*place, "o", ms=13, mfc="none", mew=3, color=COLOURS[0])
        for number, corners in enumerate(re.findall(r"\((\d+), (\d+), (\d+), (\d+)\)", text)):
            x0, y0, x1, y1 = (int(c) / n * size for c, size in zip(corners, (width, height) * 2, strict=True))
            axis.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, lw=3, color=COLOURS[number % 2]))


if __name__ == "__main__":
    main()
