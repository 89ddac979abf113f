"""Pictures of a run: samples, answers on images, predicted against true, mixture. Uses no global matplotlib state."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from vlm3.asking.protocol import Conversation
from vlm3.views.samples import PairSample, ViewSample

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
ASKED, REALISED = "#9fb3c8", "#2f6f9f"
RIGHT, WRONG = "#2f9e6e", "#d64545"
DEPTH_COLOURS = "turbo_r"
ERROR_COLOURS = "RdYlGn_r"
WORST_ERROR = 0.5
"""Relative error at which the colour scale ends."""
DELTA1 = 1.25
FARTHEST = 30.0
"""Answers this many times beyond the range of the truths, or more, are drawn at the border."""
MAX_DRAWN_POINTS = 150
MAX_LISTED_POINTS = 16
MAX_LINES = 12
"""Maximum number of lines between the views of a pair."""
VIEW_GAP_PX = 4
SHOWN_TURNS = 3
TEXT_WIDTH = 54


def sample_gallery(samples: Sequence[ViewSample | PairSample], conversations: Sequence[Conversation]) -> Figure:
    """Show images as the model sees them, labelled points coloured by depth, and the first turns of each conversation.

    The views of a pair are drawn side by side, with lines between some points that both views see.

    Args:
        samples: at least one sample.
        conversations: conversation about each sample.
    """
    columns = min(3, len(samples))
    rows = -(-len(samples) // columns)
    figure = Figure(figsize=(4.2 * columns, 5.0 * rows + 0.7), layout="constrained")
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[3.2, 1.6] * rows)
    for axes in grid.flat:
        axes.set_axis_off()
    known = np.concatenate([view.depth_m for sample in samples for view in sample.views])
    near, far = (float(known.min()), float(known.max())) if len(known) else (1.0, 2.0)
    norm = LogNorm(near, max(far, 1.01 * near))
    for number, (sample, conversation) in enumerate(zip(samples, conversations, strict=True)):
        row, column = divmod(number, columns)
        _show_sample(grid[2 * row, column], sample, norm)
        origin = sample.views[0].provenance
        height, width = sample.views[0].image.shape[:2]
        frames = " and ".join(view.provenance.frame for view in sample.views)
        focal_px = sample.views[0].camera.fx_px
        grid[2 * row, column].set_title(
            f"{origin.source} · {origin.scene} · {frames}\n"
            f"{width} x {height} px, f = {focal_px:.0f} px, {len(conversation.turns)} questions",
            fontsize=8,
            color=INK,
            parse_math=False,
        )
        write(grid[2 * row + 1, column], _turns(conversation))
    if len(known):
        bar = figure.colorbar(
            _colours(DEPTH_COLOURS, norm), ax=grid, orientation="horizontal", shrink=0.5, aspect=50, pad=0.01
        )
        kinds = sorted({view.depth_kind.value for sample in samples for view in sample.views})
        bar.set_label(f"{' and '.join(kinds)} depth in metres", fontsize=8, color=INK)
        plain_log_ticks(bar.ax, "x")
    return figure


def depth_overlay(
    image: NDArray[np.uint8],
    points_px: NDArray[np.floating],
    true_m: NDArray[np.floating],
    predicted_m: NDArray[np.floating],
) -> Figure:
    """Show an image with the points asked about, coloured by relative error, and a table of truths and answers.

    Args:
        image: (H, W, 3) RGB.
        points_px: (N, 2) pixels of `image`.
        true_m: (N,) true depths in metres.
        predicted_m: (N,) answers in metres, NaN where the answer could not be read.
    """
    figure = Figure(figsize=(9.5, 4.6), layout="constrained")
    picture, table = figure.subplots(1, 2, width_ratios=[2.6, 1])
    table.set_axis_off()
    picture.set_axis_off()
    show(picture, image)
    error = np.abs(predicted_m - true_m) / true_m
    readable = np.isfinite(error)
    norm = Normalize(0, WORST_ERROR)
    size = 130 if len(true_m) <= MAX_LISTED_POINTS else 26
    picture.scatter(
        *points_px[readable].T,
        c=error[readable],
        norm=norm,
        cmap=ERROR_COLOURS,
        s=size,
        linewidths=1.2,
        edgecolors="white",
    )
    picture.scatter(*points_px[~readable].T, s=size, c=MUTED, marker="s", linewidths=1.2, edgecolors="white")
    if len(true_m) <= MAX_LISTED_POINTS:
        for number, ((x, y), wrong) in enumerate(zip(points_px, error, strict=True), 1):
            colour = INK if 0.1 < wrong < 0.35 else "white"
            picture.text(x, y, str(number), ha="center", va="center_baseline", fontsize=7, weight="bold", color=colour)
    bar = figure.colorbar(_colours(ERROR_COLOURS, norm), ax=picture, orientation="horizontal", shrink=0.6, aspect=40)
    bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    bar.set_label("relative error (grey square: unreadable answer)", fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=8)
    listed = zip(true_m[:MAX_LISTED_POINTS], predicted_m, error, strict=False)
    lines = [f"{'':>3}{'true':>9}{'answer':>9}{'error':>7}"]
    lines += [
        f"{number:>2} {_metres(t):>9}{_metres(p):>9}{_percent(e):>7}" for number, (t, p, e) in enumerate(listed, 1)
    ]
    if len(true_m) > MAX_LISTED_POINTS:
        lines.append(f"… {len(true_m) - MAX_LISTED_POINTS} more")
    write(table, "\n".join(lines), size=9)
    return figure


def scatter_true_predicted(true_m: NDArray[np.floating], predicted_m: NDArray[np.floating]) -> Figure:
    """Plot predicted against true depth on log axes, with the band in which an answer counts for δ1.

    Args:
        true_m: (N,) true depths in metres.
        predicted_m: (N,) answers in metres. NaN (unreadable) and values ≤ 0 count as wrong and are not drawn.
    """
    figure = Figure(figsize=(5.6, 5.8), layout="constrained")
    axes = figure.subplots()
    drawable = (predicted_m > 0) & (true_m > 0)
    true = true_m[drawable]
    # An absurd answer is drawn at the border, since the axes would otherwise show little else.
    predicted = np.clip(predicted_m[drawable], true.min() / FARTHEST, true.max() * FARTHEST) if len(true) else true
    right = np.maximum(true / predicted, predicted / true) < DELTA1
    both = np.concatenate([true, predicted]) if len(true) else np.array([1.0, 10.0])
    low, high = float(both.min()) / 1.3, float(both.max()) * 1.3
    line = np.array([low, high])
    axes.fill_between(line, line / DELTA1, line * DELTA1, color=RIGHT, alpha=0.12, lw=0, label="δ1: within 25 %")
    axes.plot(line, line, color=MUTED, lw=0.8)
    size, alpha = (16, 0.7) if len(true) < 500 else (6, 0.35)
    for chosen, colour in ((~right, WRONG), (right, RIGHT)):
        axes.scatter(true[chosen], predicted[chosen], s=size, alpha=alpha, color=colour, linewidths=0)
    axes.set(
        xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), xlabel="true metres", ylabel="answered metres"
    )
    axes.set_aspect("equal")
    for side in ("x", "y"):
        plain_log_ticks(axes, side)
    share = right.sum() / max(len(true_m), 1)
    missing = len(true_m) - len(true)
    axes.set_title(
        f"δ1 = {share:.3f} of {len(true_m)} answers" + (f", {missing} unreadable" if missing else ""),
        fontsize=10,
        color=INK,
    )
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    tidy(axes)
    return figure


def mixture_chart(names: Sequence[str], asked: ArrayLike, realised: ArrayLike) -> Figure:
    """Plot the share of each component in the stream: as the recipe asks, and as the workers received it.

    Args:
        names: names of N components.
        asked: (N,) shares in the recipe.
        realised: (N,) shares in the stream.
    """
    wanted, got = np.asarray(asked, np.float64), np.asarray(realised, np.float64)
    figure = Figure(figsize=(7.0, 1.2 + 0.62 * len(names)), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(names))
    for shares, offset, colour, label in ((wanted, -0.19, ASKED, "asked"), (got, 0.19, REALISED, "realised")):
        bars = axes.barh(rows + offset, shares, height=0.36, color=colour, label=label)
        axes.bar_label(bars, [f"{share:.2%}" for share in shares], padding=3, fontsize=8, color=INK)
    axes.set_yticks(rows, names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15 * max(float(wanted.max()), float(got.max()), 1e-9))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    worst = 100 * float(np.abs(wanted - got).max())
    axes.set_title(f"mixture: realised differs by at most {worst:.2f} points", fontsize=10, color=INK)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    tidy(axes)
    return figure


def _show_sample(axes: Axes, sample: ViewSample | PairSample, norm: Normalize) -> None:
    """Draw the views side by side with their points, and lines between corresponding points."""
    views = sample.views
    lefts = np.cumsum([0, *(view.image.shape[1] + VIEW_GAP_PX for view in views)])
    canvas = np.full((max(view.image.shape[0] for view in views), lefts[-1] - VIEW_GAP_PX, 3), 255, np.uint8)
    for view, left in zip(views, lefts, strict=False):
        canvas[: view.image.shape[0], left : left + view.image.shape[1]] = view.image
    show(axes, canvas)
    for view, left in zip(views, lefts, strict=False):
        every = max(1, -(-len(view.depth_m) // MAX_DRAWN_POINTS))
        x, y = view.points_px[::every].T
        depth = view.depth_m[::every]
        axes.scatter(x + left, y, c=depth, norm=norm, cmap=DEPTH_COLOURS, s=18, linewidths=0.6, edgecolors="white")
    if isinstance(sample, PairSample):
        seen = np.flatnonzero(sample.visible)
        for index in seen[:: max(1, -(-len(seen) // MAX_LINES))]:
            (x1, y1), (x2, y2) = sample.points1_px[index], sample.points2_px[index]
            axes.plot([x1, x2 + lefts[1]], [y1, y2], color="white", lw=0.9)


def show(axes: Axes, image: NDArray[np.uint8]) -> None:
    """Draw an image (H, W, 3), and fix the limits of the axes to it."""
    axes.imshow(image, interpolation="nearest" if max(image.shape) < 400 else "antialiased")
    axes.autoscale(False)  # so that points drawn at the border do not shrink the image


def write(axes: Axes, text: str, size: float = 7) -> None:
    """Write lines of text from the top left corner down, in a monospaced font."""
    axes.text(
        0, 1, text, transform=axes.transAxes, va="top", family="monospace", fontsize=size, color=INK, parse_math=False
    )


def _turns(conversation: Conversation) -> str:
    lines: list[str] = []
    for turn in conversation.turns[:SHOWN_TURNS]:
        question = textwrap.wrap(turn.question, TEXT_WIDTH, initial_indent="Q ", subsequent_indent="  ", max_lines=4)
        answer = textwrap.wrap(turn.answer, TEXT_WIDTH, initial_indent="A ", subsequent_indent="  ", max_lines=2)
        lines += question + answer
    hidden = len(conversation.turns) - SHOWN_TURNS
    return "\n".join(lines + ([f"… {hidden} more"] if hidden > 0 else []))


def _metres(value: float) -> str:
    return f"{value:.2f} m" if np.isfinite(value) else "?"


def _percent(value: float) -> str:
    return f"{value:.0%}" if np.isfinite(value) else "-"


def _colours(name: str, norm: Normalize) -> ScalarMappable:
    return ScalarMappable(norm, colormaps[name])


def plain_log_ticks(axes: Axes, side: str) -> None:
    """Label the ticks of a log axis 0.5, 1, 2, 5, 10 instead of with powers of ten."""
    axis = axes.xaxis if side == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axes.tick_params(labelsize=8, colors=INK)


def tidy(axes: Axes) -> None:
    """Give the axes a light grid and frame."""
    axes.grid(True, color=GRID, lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=8)
