"""Pictures of answers about depth."""

import numpy as np
from matplotlib.figure import Figure

from vlm3.metrics.relative import relative_error
from vlm3.pictures.drawing import INK, RIGHT, WRONG, plain_log_ticks, tidy
from vlm3.tasks.depth.metrics import within
from vlm3.tasks.depth.table import DepthTable

DEPTH_BINS = 8
FEWEST_IN_BIN = 5


def error_by_depth(table: DepthTable) -> Figure:
    """Share of right answers and relative error in bands of true depth, in the kind of the labels.

    Args:
        table: answers of a benchmark.
    """
    true, answered = table.own_kind()
    borders = np.geomspace(true.min(), max(true.max(), 1.01 * true.min()) * 1.0001, DEPTH_BINS + 1)
    band = np.clip(np.searchsorted(borders, true, side="right") - 1, 0, DEPTH_BINS - 1)
    right, relative = within(answered, true), relative_error(answered, true)
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    other = axes.twinx()
    middles, shares, errors = [], [], []
    for number in range(DEPTH_BINS):
        chosen = band == number
        if chosen.sum() >= FEWEST_IN_BIN:
            middles.append(float(np.sqrt(borders[number] * borders[number + 1])))
            shares.append(float(right[chosen].mean()))
            errors.append(float(np.nanmedian(relative[chosen])) if np.isfinite(relative[chosen]).any() else np.nan)
    axes.plot(middles, shares, "o-", color=RIGHT, label="δ1")
    other.plot(middles, errors, "s--", color=WRONG, label="median relative error")
    axes.set(xscale="log", xlabel="true metres", ylabel="δ1", ylim=(0, 1))
    other.set_ylabel("median relative error", color=WRONG, fontsize=9)
    other.set_ylim(bottom=0)
    plain_log_ticks(axes, "x")
    axes.set_title("accuracy by depth", fontsize=10, color=INK)
    tidy(axes)
    return figure
