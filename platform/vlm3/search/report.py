"""The results of a search: a table, a picture, and the winning mixture for the next training."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from rich.table import Table

from vlm3.config import dump_yaml
from vlm3.search.space import MixtureSpace
from vlm3.search.trials import Trial, TrialState, best_first

INK, MUTED = "#1f2933", "#7b8794"
SOURCE_COLOURS = "tab20"
"""A colour map of ten strong colours, each followed by its light one."""
SCORE_COLOURS = "viridis"
Mode = Literal["max", "min"]


def results_table(space: MixtureSpace, trials: Sequence[Trial], metric: str, mode: Mode) -> Table:
    """The trials, best first, for the terminal."""
    table = Table(title=f"mixture search by {metric}")
    for column in ("trial", *space.names, metric, "seconds"):
        table.add_column(column, justify="right")
    table.add_column("")
    for rank, trial in enumerate(best_first(trials, mode)):
        style = "bold green" if rank == 0 and trial.score is not None else None
        shares = (f"{weight:.3f}" for weight in trial.weights)
        table.add_row(str(trial.number), *shares, _score(trial), _seconds(trial), trial.error or "", style=style)
    return table


def results_csv(space: MixtureSpace, trials: Sequence[Trial], mode: Mode) -> str:
    """The trials, best first, one row each."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["trial", "state", "score", *space.names, "seconds", "run_id", "error"])
    for trial in best_first(trials, mode):
        score = "" if trial.score is None else repr(float(trial.score))
        writer.writerow(
            [trial.number, trial.state, score, *trial.weights, _seconds(trial), trial.run_id or "", trial.error or ""]
        )
    return stream.getvalue()


def results_markdown(space: MixtureSpace, trials: Sequence[Trial], metric: str, mode: Mode) -> str:
    """The trials, best first, as a Markdown table."""
    rows = [["trial", *space.names, metric, "seconds", "note"]]
    rows.append(["---:"] * (len(rows[0]) - 1) + ["---"])
    for trial in best_first(trials, mode):
        shares = [f"{weight:.4f}" for weight in trial.weights]
        rows.append(
            [str(trial.number), *shares, _score(trial), _seconds(trial), (trial.error or "").replace("|", r"\|")]
        )
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def winning_mixture(space: MixtureSpace, trials: Sequence[Trial], mode: Mode) -> dict[str, float]:
    """Recipe weights of the best finished trial."""
    return space.recipe_weights(best_first(trials, mode)[0].weights)


def mixture_overlay(weights: dict[str, float], comment: str) -> str:
    """Weights as YAML that jobs/train.py merges into the recipe with `--with`."""
    overlay = {"sources": {name: {"weight": weight} for name, weight in weights.items()}}
    return f"# {comment}\n{dump_yaml(overlay)}"


def mixtures_figure(space: MixtureSpace, trials: Sequence[Trial], metric: str, mode: Mode) -> Figure:
    """Finished trials from best to worst as stacked bars of shares; for three sources also the triangle of mixtures."""
    ranked = [trial for trial in best_first(trials, mode) if trial.state is TrialState.FINISHED]
    triangle = len(space.names) == 3
    height = max(3.6 if triangle else 2.2, 1.4 + 0.34 * len(ranked))
    figure = Figure(figsize=(12.0 if triangle else 7.5, height), layout="constrained")
    columns = figure.subplots(1, 2 if triangle else 1, squeeze=False, width_ratios=[1.25, 1] if triangle else [1])[0]
    _bars(columns[0], space, ranked, metric)
    if triangle:
        _triangle(columns[1], space, ranked, metric)
    return figure


def write_report(folder: Path, space: MixtureSpace, trials: Sequence[Trial], metric: str, mode: Mode) -> Path:
    """Write trials.csv, trials.md, trials.png and mixture.yaml.

    Returns:
        Path of mixture.yaml.
    """
    folder.mkdir(parents=True, exist_ok=True)
    best = best_first(trials, mode)[0]
    comment = (
        f"{metric} {best.score:.4f} in trial {best.number} of {len(trials)}; use with: jobs/train.py --with THIS_FILE"
    )
    (folder / "trials.csv").write_text(results_csv(space, trials, mode), encoding="utf-8")
    (folder / "trials.md").write_text(results_markdown(space, trials, metric, mode), encoding="utf-8")
    mixtures_figure(space, trials, metric, mode).savefig(folder / "trials.png", dpi=120)
    overlay = folder / "mixture.yaml"
    overlay.write_text(mixture_overlay(winning_mixture(space, trials, mode), comment), encoding="utf-8")
    return overlay


def _score(trial: Trial) -> str:
    return trial.state.value if trial.score is None else f"{trial.score:.4f}"


def _seconds(trial: Trial) -> str:
    return "" if trial.seconds is None else f"{trial.seconds:.0f}"


def _bars(axes: Axes, space: MixtureSpace, ranked: Sequence[Trial], metric: str) -> None:
    rows = np.arange(len(ranked))
    left = np.zeros(len(ranked))
    colours = colormaps[SOURCE_COLOURS]
    for index, name in enumerate(space.names):
        shares = np.array([trial.weights[index] for trial in ranked])
        strong = index % 20 < 10
        colour = colours(2 * (index % 10) + (0 if strong else 1))
        bars = axes.barh(rows, shares, left=left, height=0.72, color=colour, label=name)
        labels = [f"{share:.0%}" if share >= 0.06 else "" for share in shares]
        axes.bar_label(bars, labels, label_type="center", fontsize=8, color="white" if strong else INK)
        left += shares
    for row, trial in zip(rows, ranked, strict=True):
        weight = "bold" if row == 0 else "normal"
        axes.text(1.015, float(row), f"{trial.score:.4f}", va="center", fontsize=9, color=INK, weight=weight)
    axes.set_yticks(rows, [f"trial {trial.number}" for trial in ranked])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axes.tick_params(labelsize=8, colors=INK, length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(f"mixtures, best first, with {metric}", fontsize=10, color=INK, loc="left")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=4, frameon=False, fontsize=8)


def _triangle(axes: Axes, space: MixtureSpace, ranked: Sequence[Trial], metric: str) -> None:
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])
    for share in (0.25, 0.5, 0.75):
        for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            start, stop = (share * corners[a] + (1 - share) * corners[other] for other in (b, c))
            axes.plot(*np.stack([start, stop]).T, color="#e4e7eb", lw=0.8, zorder=0)
    axes.plot(*corners[[0, 1, 2, 0]].T, color=MUTED, lw=1.0, zorder=1)
    points = np.array([trial.weights for trial in ranked]) @ corners
    scores = np.array([trial.score for trial in ranked])
    drawn = axes.scatter(
        points[:, 0], points[:, 1], c=scores, cmap=SCORE_COLOURS, s=70, edgecolors="white", linewidths=0.8, zorder=3
    )
    axes.scatter(points[:1, 0], points[:1, 1], s=240, facecolors="none", edgecolors="#d64545", linewidths=1.8, zorder=4)
    places = (("right", "top"), ("left", "top"), ("center", "bottom"))
    for name, corner, (horizontal, vertical) in zip(space.names, corners, places, strict=True):
        offset = (0, 6 if vertical == "bottom" else -6)
        axes.annotate(
            f"all {name}", corner, offset, textcoords="offset points", ha=horizontal, va=vertical, fontsize=9, color=INK
        )
    axes.set_aspect("equal")
    axes.margins(0.16)
    axes.set_axis_off()
    bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.7, label=metric)
    bar.ax.tick_params(labelsize=8)
