"""Pictures of answers about objects."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vlm3.geometry.camera import Camera
from vlm3.pictures.drawing import show, write
from vlm3.scenes.schema import Box
from vlm3.tasks.objects.table import ObjectTable
from vlm3.tasks.objects.truths import oriented

MOST_DRAWN = 20
EDGES = ((0, 1), (0, 2), (0, 4), (1, 3), (1, 5), (2, 3), (2, 6), (3, 7), (4, 5), (4, 6), (5, 7), (6, 7))
"""Pairs of corners that an edge of a box joins: their numbers differ by one bit."""


def boxes_overlay(image: NDArray[np.uint8], camera: Camera, boxes: Sequence[Box], table: ObjectTable) -> Figure:
    """Boxes and the regions that name them, and some questions with truth and answer.

    Args:
        image: (H, W, 3) original.
        camera: camera of the image.
        boxes: boxes in the camera's frame.
        table: answers about this image.
    """
    figure = Figure(figsize=(11.5, 4.8), layout="constrained")
    picture, text = figure.subplots(1, 2, width_ratios=[2.2, 1])
    picture.set_axis_off()
    text.set_axis_off()
    show(picture, image)
    for number, box in enumerate(boxes):
        colour = f"C{number % 10}"
        points_m = oriented(box).corners_m()
        if (points_m[:, 2] > 0).all():
            u, v = camera.project(points_m).T
            for first, second in EDGES:
                picture.plot([u[first], u[second]], [v[first], v[second]], color=colour, lw=1.0)
        if box.region_px is not None:
            x0, y0, x1, y1 = box.region_px
            picture.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=colour, lw=1.6, ls="--")
            picture.text(x0, y0, box.label, fontsize=8, color="white", backgroundcolor=colour, parse_math=False)
    lines = [f"{'question':<24}{'true':>7}{'answer':>8}"]
    for row in range(min(len(table), MOST_DRAWN)):
        answer = table.predicted[row]
        lines.append(f"{table.category[row][:23]:<24}{table.true[row]:>7.2f}{answer:>8.2f}")
    write(text, "\n".join(lines), size=8)
    return figure
