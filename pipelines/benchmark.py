"""An evaluation: benchmarks are checked, asked about, scored beside baselines, and recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.answerers import AnswererSource, DirectoryAnswerer
from pipelines.cluster import connect
from pipelines.predict import Replicas, predict
from pipelines.progress import Counting
from pipelines.runs import only_driver
from vlm3.asking.tables import AnswerTable, to_arrow
from vlm3.benchmarks.checking import Checked, check_row, refusal
from vlm3.benchmarks.items import Benchmark
from vlm3.errors import DataError
from vlm3.evaluation.outcomes import outcome
from vlm3.evaluation.report import Coverage, Report
from vlm3.evaluation.scoring import score
from vlm3.log import get_logger
from vlm3.storage.store import open_store
from vlm3.tracking.config import TrackingConfig
from vlm3.tracking.evaluation import record_evaluation
from vlm3.tracking.runs import prepare_tracking, start_run

log = get_logger(__name__)
KIND: Literal["evaluation"] = "evaluation"


@dataclass(frozen=True, slots=True)
class BenchmarkRequest:
    """What an evaluation measures, and on which benchmarks."""

    name: str
    """Name of the evaluation and of its folder, `evaluation/NAME` in the runs folder."""
    model: str
    """The model as the user named it, for the report."""
    source: AnswererSource
    benchmarks: tuple[Benchmark, ...]
    runs_dir: Path
    tracking: TrackingConfig
    replicas: Replicas
    allow_skip: bool = False
    limit: int | None = None
    """Number of rows of each benchmark, spread evenly; None for all."""
    seed: int = 0


def run_benchmark(request: BenchmarkRequest) -> Report:
    """Evaluate; answers and report go to the evaluation's folder, and with pictures to MLflow.

    After an interruption, a call with the same request continues where the last one stopped.

    Raises:
        DataError: rows of a benchmark are bad and skipping is not allowed, or nothing can be asked.
        UserError: the model cannot be asked, or the folder holds another evaluation.
    """
    with only_driver(request.runs_dir, KIND, request.name):
        folder = request.runs_dir / KIND / request.name
        checked = {benchmark.name: _check(benchmark, request) for benchmark in request.benchmarks}
        connect()
        answers: dict[str, Mapping[str, AnswerTable]] = {}
        for benchmark in request.benchmarks:
            rows = checked[benchmark.name].rows
            where = folder / benchmark.name
            answers[benchmark.name] = predict(benchmark, rows, request.source, where, request.replicas)
            for task, table in answers[benchmark.name].items():
                sink = pa.BufferOutputStream()
                pq.write_table(to_arrow(table), sink)
                open_store(str(where)).write_atomic(f"{task}.parquet", sink.getvalue().to_pybytes())
        outcomes = [outcome(name, table) for name, tables in answers.items() for table in tables.values()]
        scores = [
            found
            for name, tables in answers.items()
            for table in tables.values()
            for found in score(name, table, request.seed)
        ]
        if outcomes and not scores:
            raise DataError(f"nothing that is asked can be shown to {request.model}: {'; '.join(outcomes[0].notes())}")
        if not scores:
            raise DataError(f"{request.model} was asked nothing: it knows no task of {', '.join(answers)}")
        coverage = tuple(Coverage(n, len(c.rows) + len(c.faults), len(c.faults)) for n, c in checked.items())
        report = Report(request.model, coverage, tuple(scores), tuple(outcomes))
        store = open_store(str(folder))
        store.write_atomic("report.json", report.to_json().encode())
        store.write_atomic("report.md", report.to_markdown().encode())
        asked = [(benchmark, checked[benchmark.name].rows) for benchmark in request.benchmarks]
        _record(request, report, asked, answers, folder)
        return report


def _check(benchmark: Benchmark, request: BenchmarkRequest) -> Checked:
    """Read every row once and check that its images can be shown, before anything is asked.

    An evaluation would otherwise end in an error after hours of asking.
    """
    rows = _spread(benchmark.rows(), request.limit)
    found, check = [], request.source.check()
    with Counting(f"{benchmark.name}: checked", len(rows)) as counting:
        for row in rows:
            found.append(check_row(benchmark, row, check))
            counting.add(1)
    checked = Checked.of(found)
    if checked.faults:
        text = refusal(benchmark.name, checked)
        if not request.allow_skip:
            raise DataError(text)
        log.warning("%s", text)
    if not checked.rows:
        raise DataError(f"{benchmark.name}: no row can be asked about")
    return checked


def _spread(rows: Sequence[str], limit: int | None) -> tuple[str, ...]:
    if limit is None or limit >= len(rows):
        return tuple(rows)
    return tuple(rows[number * len(rows) // limit] for number in range(limit))


def _record(
    request: BenchmarkRequest,
    report: Report,
    asked: Sequence[tuple[Benchmark, Sequence[str]]],
    answers: Mapping[str, Mapping[str, AnswerTable]],
    folder: Path,
) -> None:
    prepare_tracking(request.tracking, request.runs_dir)
    version = request.source.version if isinstance(request.source, DirectoryAnswerer) else None
    parent = None if version is None else version.run_id
    with start_run(request.tracking, request.runs_dir, request.name, KIND, parent) as run:
        record_evaluation(run, report, asked, answers, folder, version)
