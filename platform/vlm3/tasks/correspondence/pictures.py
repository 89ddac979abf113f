"""Pictures of answers about corresponding points."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vlm3.pictures.drawing import INK, MUTED, RIGHT, VIEW_GAP_PX, WRONG, show
from vlm3.tasks.correspondence.table import CorrespondenceTable

MOST_DRAWN = 20
NEAR_SHARE = 0.02
"""Share of image 2's diagonal within which an answer is drawn as right."""


def match_lines(image1: NDArray[np.uint8], image2: NDArray[np.uint8], table: CorrespondenceTable) -> Figure:
    """Points of image 1 with their true places in image 2 (rings) and the answered ones (dots).

    Args:
        image1: (H, W, 3) original.
        image2: (H, W, 3) original.
        table: answers about this pair.
    """
    figure = Figure(figsize=(11.0, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    left = image1.shape[1] + VIEW_GAP_PX
    canvas = np.full((max(image1.shape[0], image2.shape[0]), left + image2.shape[1], 3), 255, np.uint8)
    canvas[: image1.shape[0], : image1.shape[1]] = image1
    canvas[: image2.shape[0], left:] = image2
    show(axes, canvas)
    near_px = NEAR_SHARE * float(np.hypot(*image2.shape[:2]))
    for row in range(min(len(table), MOST_DRAWN)):
        x1, y1 = table.point1_px[row]
        true, answered = table.true2_px[row] + (left, 0), table.predicted2_px[row] + (left, 0)
        right = bool(np.hypot(*(true - answered)) <= near_px)
        colour = RIGHT if right else WRONG if np.isfinite(answered).all() else MUTED
        axes.plot([x1, true[0]], [y1, true[1]], color=colour, lw=0.8, alpha=0.7)
        axes.plot([true[0], answered[0]], [true[1], answered[1]], color=colour, lw=1.4)
        axes.scatter([x1], [y1], s=16, color=colour, edgecolors="white", linewidths=0.6)
        axes.scatter([true[0]], [true[1]], s=46, facecolors="none", edgecolors="white", linewidths=1.4)
        axes.scatter([answered[0]], [answered[1]], s=16, color=colour, edgecolors="white", linewidths=0.6)
    axes.set_title(
        f"{table.item[0]}: ring = truth, dot = answer, grey = no place named", fontsize=9, color=INK, parse_math=False
    )
    return figure
