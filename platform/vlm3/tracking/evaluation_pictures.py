"""A chart of an evaluation's headline scores."""

import numpy as np
from matplotlib.figure import Figure

from vlm3.evaluation.report import MODEL, Report
from vlm3.pictures.drawing import INK, RIGHT, tidy
from vlm3.tasks import SCORED


def score_by_benchmark(report: Report, task: str) -> Figure:
    """Bars of the first headline metric of a task that was scored, on every benchmark, with baselines and intervals.

    Args:
        report: report of the evaluation.
        task: a task with scores in the report.
    """
    scored = {score.metric for score in report.scores if score.task == task}
    column = next(column for column in SCORED[task].table.headlines if column.metric in scored)
    found = [score for score in report.scores if score.task == task and score.metric == column.metric]
    names = list(dict.fromkeys(score.benchmark for score in found))
    answerers = list(dict.fromkeys(score.by for score in found))
    figure = Figure(figsize=(7.5, 1.2 + 0.34 * len(names) * len(answerers)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(answerers)
    for place, by in enumerate(answerers):
        rows = {score.benchmark: score for score in found if score.by == by}
        shown = [name for name in names if name in rows]
        y = [names.index(name) + (place - (len(answerers) - 1) / 2) * height for name in shown]
        values = np.array([rows[name].value for name in shown])
        ends = [(rows[name].low, rows[name].high) for name in shown]
        spread = np.array(
            [(v - (v if a is None else a), (v if b is None else b) - v) for v, (a, b) in zip(values, ends, strict=True)]
        )
        colour = RIGHT if by == MODEL else f"C{7 + place}"
        axes.barh(y, values, height * 0.9, color=colour, label=by, xerr=np.abs(spread).T, ecolor=INK)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_title(f"{task}: {column.heading}", fontsize=10, color=INK)
    axes.legend(frameon=False, fontsize=8)
    tidy(axes)
    return figure
