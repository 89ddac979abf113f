"""Pictures of answers about poses."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vlm3.pictures.drawing import INK, RIGHT, WRONG, tidy
from vlm3.tasks.pose.table import PoseTable

FRUSTUM = np.array([[-0.5, -0.35, 1.0], [0.5, -0.35, 1.0], [0.5, 0.35, 1.0], [-0.5, 0.35, 1.0]])


def camera_pair(table: PoseTable, row: int) -> Figure:
    """Both cameras from above and from the right, the second at its true and at its answered pose.

    Where the answer has no distance, the true one is drawn, to compare direction and rotation alone.

    Args:
        table: answers about pairs.
        row: row of the pair to draw.
    """
    true = table.true_cam1_T_cam2[row]
    length = float(np.linalg.norm(true[:3, 3])) or 1.0
    answered_m = float(table.predicted_distance_m[row])
    answer = np.eye(4)
    answer[:3, :3] = table.predicted_cam1_R_cam2[row]
    answer[:3, 3] = table.predicted_direction[row] * (answered_m if np.isfinite(answered_m) else length)
    figure = Figure(figsize=(9.0, 4.6), layout="constrained")
    for axes, (across, up, title, labels) in zip(
        figure.subplots(1, 2),
        ((0, 2, "from above", ("right", "forward")), (2, 1, "from the right", ("forward", "down"))),
        strict=True,
    ):
        for pose, colour, name in ((np.eye(4), INK, "camera 1"), (true, RIGHT, "camera 2"), (answer, WRONG, "answer")):
            if np.isfinite(pose).all():
                _draw_camera(axes, pose, 0.35 * length, (across, up), colour, name)
        if up == 1:
            axes.invert_yaxis()
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_title(title, fontsize=10, color=INK)
        axes.set_xlabel(labels[0], fontsize=8, color=INK)
        axes.set_ylabel(labels[1], fontsize=8, color=INK)
        tidy(axes)
    axes.legend(frameon=False, fontsize=8)
    figure.suptitle(str(table.item[row]), fontsize=9, color=INK, parse_math=False)
    return figure


def _draw_camera(
    axes: Axes, pose: NDArray[np.float64], size: float, plane: tuple[int, int], colour: str, name: str
) -> None:
    across, up = plane
    ends = pose[:3, :3] @ (FRUSTUM * size).T + pose[:3, 3:4]
    outline = np.concatenate([ends, ends[:, :1]], axis=1)
    axes.plot(outline[across], outline[up], color=colour, lw=1.2)
    for end in ends.T:
        axes.plot([pose[across, 3], end[across]], [pose[up, 3], end[up]], color=colour, lw=0.9)
    axes.scatter([pose[across, 3]], [pose[up, 3]], color=colour, s=22, label=name, zorder=3)
