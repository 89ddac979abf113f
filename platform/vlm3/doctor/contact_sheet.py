"""A sheet of a source's frames: labels coloured by depth, and a neighbour's points at the places the poses give."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from vlm3.doctor.finding import Finding, Verdict
from vlm3.doctor.reprojection import HIDDEN, view_of
from vlm3.errors import DataError
from vlm3.geometry.pixels import scaled_px
from vlm3.geometry.rigid import relative, transform
from vlm3.pictures.drawing import DEPTH_COLOURS, INK, MUTED, RIGHT, WRONG
from vlm3.scenes.schema import Frame
from vlm3.storage.images import decode_at_least

SHOWN_LONG_SIDE_PX = 480
MOST_POINTS = 300
MOST_LETTERS = 165
CELL_INCH = 4.0
AGREES = 0.05
WARNING = "#d9912b"
VERDICT_COLOURS = {
    Verdict.OK: RIGHT,
    Verdict.WARN: WARNING,
    Verdict.FAIL: WRONG,
    Verdict.CANNOT_TELL: MUTED,
}


def contact_sheet(title: str, samples: Sequence[tuple[Frame, Frame | None]], findings: Sequence[Finding]) -> Figure:
    """Draw frames side by side with their labels and their neighbours' points, and the findings below.

    Args:
        title: name of the source.
        samples: frames, each with a posed neighbour or None. A frame with a neighbour is drawn a second time with the
            neighbour's points.
        findings: findings on the source.
    """
    paired = any(neighbour is not None for _, neighbour in samples)
    columns = 4
    cells = [cell for sample in samples for cell in ((sample, False), (sample, True))[: 1 + paired]]
    rows = max(1, -(-len(cells) // columns))
    shapes = [frame.camera.height_px / max(frame.camera.width_px, 1) for frame, _ in samples]
    pictures_inch = rows * (CELL_INCH * float(np.clip(np.median(shapes or [0.75]), 0.3, 2)) + 0.4) + 1.2
    text_inch = 0.26 * len(findings) + 0.4
    figure = Figure(figsize=(CELL_INCH * columns, pictures_inch + text_inch), layout="constrained")
    halves = figure.subfigures(2, 1, squeeze=False, height_ratios=[pictures_inch, text_inch])
    top, bottom = halves[0, 0], halves[1, 0]
    grid = top.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    norm = _norm([frame for frame, _ in samples])
    for axes, ((frame, neighbour), second) in zip(grid.flat, cells, strict=False):
        scale = _show(axes, frame)
        if scale is None:
            continue
        if second and neighbour is not None:
            _draw_neighbour(axes, frame, neighbour, scale)
        elif not second:
            _draw_labels(axes, frame, scale, norm)
    top.suptitle(title, fontsize=13, color=INK, weight="bold")
    colours = ScalarMappable(norm, colormaps[DEPTH_COLOURS])
    bar = top.colorbar(colours, ax=grid, orientation="horizontal", shrink=0.4, aspect=50, pad=0.02)
    legend = "; right: a neighbour's points — green on this view's surface, red off it by 5 %, grey hidden or no depth"
    bar.set_label("labels: depth in metres" + (legend if paired else ""), fontsize=9, color=INK)
    bar.ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bar.ax.xaxis.set_minor_formatter(NullFormatter())
    _write_findings(bottom.subplots(), findings)
    return figure


def _norm(frames: Sequence[Frame]) -> LogNorm:
    known = np.concatenate([np.empty(0, np.float32), *(frame.points[:, 2] for frame in frames)])
    known = known[np.isfinite(known) & (known > 0)]
    near, far = np.percentile(known, (1, 99)) if len(known) else (1.0, 2.0)
    return LogNorm(float(near), max(float(far), 1.01 * float(near)))


def _show(axes: Axes, frame: Frame) -> tuple[float, float] | None:
    """Draw a frame's image small. Returns shown pixels per stored pixel in x and y, None if it cannot be decoded."""
    name = f"{frame.scene} · {frame.frame}"
    try:
        scale = min(1.0, SHOWN_LONG_SIDE_PX / max(frame.camera.width_px, frame.camera.height_px, 1))
        decoded = decode_at_least(frame.encoded_image, scale)
    except DataError as error:
        axes.text(0.5, 0.5, f"{name}\n{error}", ha="center", va="center", fontsize=7, color=WRONG, wrap=True)
        return None
    axes.imshow(decoded.pixels, interpolation="antialiased")
    axes.autoscale(False)
    axes.set_title(name, fontsize=8, color=INK, parse_math=False)
    return decoded.scale_x, decoded.scale_y


def _draw_labels(axes: Axes, frame: Frame, scale: tuple[float, float], norm: LogNorm) -> None:
    points = frame.points[:: max(1, -(-len(frame.points) // MOST_POINTS))]
    u, v = _shown(points[:, :2], scale).T
    axes.scatter(
        u,
        v, c=points[:, 2], norm=norm, cmap=DEPTH_COLOURS, s=13, linewidths=0.4,
        edgecolors="white", plotnonfinite=True,
    )  # fmt: skip


def _draw_neighbour(axes: Axes, frame: Frame, neighbour: Frame, scale: tuple[float, float]) -> None:
    """Draw points of the neighbour's depth map in this frame."""
    here, there = view_of(frame), view_of(neighbour)
    if here is None or there is None:
        return
    moved = transform(
        relative(here.stored_pose, there.stored_pose), (there.rays * there.z_of_rays_m[:, None])[:MOST_POINTS]
    )
    colours = _colours(moved, here.camera.project(moved), here.z_depth_m)
    pixels = _shown(frame.camera.project(moved), scale)
    width, height = frame.camera.width_px * scale[0], frame.camera.height_px * scale[1]
    with np.errstate(invalid="ignore"):
        seen = np.all((pixels >= -0.5) & (pixels < (width - 0.5, height - 0.5)), axis=-1)
    u, v = pixels[seen].T
    axes.scatter(u, v, c=colours[seen], s=20, linewidths=0.5, edgecolors="white")
    right, wrong = (int((colours[seen] == colour).sum()) for colour in (RIGHT, WRONG))
    share = f"{right / (right + wrong):.0%} of {right + wrong} agree" if right + wrong else "none lands here"
    axes.set_title(f"points of {neighbour.frame}: {share}", fontsize=8, color=INK, parse_math=False)


def _colours(
    points_m: NDArray[np.float64], map_px: NDArray[np.float64], z_depth_m: NDArray[np.float64]
) -> NDArray[np.str_]:
    """(n,) colour of each point: whether it lies on, off or behind the surface at its pixel of the map."""
    at = np.rint(map_px)
    with np.errstate(invalid="ignore"):
        inside = np.all((at >= 0) & (at < (z_depth_m.shape[1], z_depth_m.shape[0])), axis=-1)
    column, row = np.where(inside[:, None], at, 0).astype(np.intp).T
    error = points_m[:, 2] / np.where(inside, z_depth_m[row, column], np.nan) - 1
    return np.where(np.abs(error) < AGREES, RIGHT, np.where(error < HIDDEN, WRONG, MUTED))


def _shown(pixels: NDArray[np.floating], scale: tuple[float, float]) -> NDArray[np.float64]:
    return scaled_px(np.asarray(pixels, np.float64), np.array(scale))


def _write_findings(axes: Axes, findings: Sequence[Finding]) -> None:
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(len(findings), 0))
    for row, finding in enumerate(findings):
        y, colour = row + 0.5, VERDICT_COLOURS[finding.verdict]
        axes.text(0.0, y, finding.check, va="center", fontsize=9, weight="bold", color=INK, parse_math=False)
        axes.text(0.13, y, finding.verdict.value, va="center", fontsize=9, weight="bold", color=colour)
        text = f"{finding.figure} → {finding.advice}" if finding.advice else finding.figure
        text = text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"
        axes.text(0.21, y, text, va="center", fontsize=9, color=INK, parse_math=False)
