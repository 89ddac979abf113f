"""Records an evaluation in MLflow: metrics, report, answers and pictures, tagged with the version evaluated."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from vlm3.asking.tables import AnswerTable, take
from vlm3.benchmarks.items import Benchmark
from vlm3.evaluation.outcomes import asked_only
from vlm3.evaluation.report import Report
from vlm3.tasks import SCORED
from vlm3.tracking.evaluation_pictures import score_by_benchmark
from vlm3.tracking.registry import ResolvedModel
from vlm3.tracking.runs import TrackedRun

PICTURED = 3
"""Number of items pictured for each benchmark and task."""


def record_evaluation(
    run: TrackedRun,
    report: Report,
    asked: Sequence[tuple[Benchmark, Sequence[str]]],
    answers: Mapping[str, Mapping[str, AnswerTable]],
    folder: Path,
    version: ResolvedModel | None,
) -> None:
    """Log everything to a run, with name and version of a registered model as tags.

    Args:
        run: the evaluation's run.
        report: scores of the evaluation.
        asked: benchmarks with the rows that were asked about.
        answers: benchmark → task → answers.
        folder: folder with report.md, report.json and NAME/TASK.parquet.
        version: the registered version that was evaluated, None for another model.
    """
    scores = report.metrics()
    run.metrics(scores)
    run.params({"model": report.model, "benchmarks": list(answers)}, "evaluation.yaml")
    if version is not None:
        run.tags({"vlm3.model": version.name, "vlm3.model_version": version.version})
    for name in ("report.md", "report.json"):
        run.file(folder / name)
    for benchmark, rows in asked:
        run.dataset(benchmark.name, benchmark.name, benchmark.identity(), "evaluation")
        tables = answers[benchmark.name]
        for task, table in tables.items():
            run.file(folder / benchmark.name / f"{task}.parquet", f"answers/{benchmark.name}")
            if len(shown := asked_only(table)):
                for name, figure in SCORED[task].plots(shown):
                    run.figure(f"pictures/{benchmark.name}/{task}-{name}.png", figure)
        for name, figure in _overlays(benchmark, rows, tables):
            run.figure(f"pictures/{benchmark.name}/{name}.png", figure)
    for task in dict.fromkeys(score.task for score in report.scores):
        run.figure(f"pictures/{task}.png", score_by_benchmark(report, task))


def _overlays(
    benchmark: Benchmark, rows: Sequence[str], tables: Mapping[str, AnswerTable]
) -> Iterator[tuple[str, Figure]]:
    """(name, picture) of the first items of each task; rows are read again, since answers hold no pixels."""
    wanted = {task: list(dict.fromkeys(table.item))[:PICTURED] for task, table in tables.items()}
    missing = {(task, item) for task, items in wanted.items() for item in items}
    for row in rows:
        if not missing:
            return
        for item in benchmark.read(row):
            for task, table in tables.items():
                if (task, item.id) in missing and (
                    figure := SCORED[task].overlay(item, take(table, table.item == item.id))
                ):
                    missing.discard((task, item.id))
                    yield f"{task}-{wanted[task].index(item.id)}", figure
