"""Measure a model: `python jobs/benchmark.py MODEL DATA... [--name NAME]`, or `--compare NAME_A NAME_B`.

MODEL is an exported directory, models:/NAME@ALIAS, hub:ORGANISATION/NAME, the URL of an OpenAI-compatible endpoint
(with --endpoint-model), or a .parquet file of predictions. DATA are folders, files or shards: docs/evaluation.md.
"""

import argparse
import math
from datetime import datetime
from pathlib import Path

from pipelines.runs import runs_folder
from vlm3 import terminal
from vlm3.errors import ConfigError
from vlm3.job import going_on, resume_command, run_job


def main() -> None:
    """Parse the command line, evaluate or compare, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="the model to measure, as described above")
    parser.add_argument("data", nargs="*", help="benchmarks: folders, .jsonl or .json files, ingested sources")
    parser.add_argument("--name", help="name of the evaluation; give it again to continue after an interruption")
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="two evaluations by name: how much better is B?")
    parser.add_argument("--list-items", type=Path, metavar="FILE.parquet", help="write what DATA asks, and stop")
    parser.add_argument("--ask", type=Path, metavar="YAML", help="how to ask a model that was trained elsewhere")
    parser.add_argument("--endpoint-model", metavar="NAME", help="name of the model on the endpoint's server")
    parser.add_argument("--images", type=Path, help="folder of a benchmark's images, if they are not beside its file")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--replicas", type=int, default=1, help="copies of the model that answer side by side")
    parser.add_argument("--cpus", type=float, default=1.0, help="CPUs of each replica")
    parser.add_argument("--limit", type=int, help="rows of each benchmark, spread evenly (default: all)")
    parser.add_argument("--allow-skip", action="store_true", help="leave out bad rows of a benchmark, with a warning")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    parser.add_argument(
        "--runs", type=Path, help="folder of runs and the MLflow database (default: $VLM3_RUNS or ./runs)"
    )
    terminal.add_verbose(parser)
    arguments = parser.parse_args()
    terminal.start(verbose=arguments.verbose)
    runs_dir = runs_folder(arguments.runs)
    if arguments.compare:
        if arguments.model:
            raise ConfigError("--compare takes the names of two evaluations and nothing else")
        _compare(runs_dir, arguments)
        return
    if arguments.list_items:
        _list_items([path for path in (arguments.model, *arguments.data) if path], arguments)
        return
    if not arguments.model or not arguments.data:
        raise ConfigError("expected a model and at least one benchmark: python jobs/benchmark.py MODEL DATA...")
    for name in ("replicas", "limit"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            raise ConfigError(f"--{name}: expected at least 1, found {getattr(arguments, name)}")
    if not 0 < arguments.cpus < math.inf:
        raise ConfigError(f"--cpus: expected a number above 0, found {arguments.cpus:g}")
    name = arguments.name or f"evaluation-{datetime.now():%Y%m%d-%H%M%S}"
    terminal.keep_log(runs_dir / "evaluation" / name / "log")
    # Imported here because it takes seconds: a misspelt flag is reported at once.
    from pipelines.answerers import answerer_source
    from pipelines.benchmark import BenchmarkRequest, run_benchmark
    from pipelines.predict import Replicas
    from vlm3.benchmarks.opening import open_benchmarks
    from vlm3.tracking.client import tracking_uri
    from vlm3.tracking.config import TrackingConfig

    tracking = TrackingConfig()
    uri = tracking_uri(tracking, runs_dir)
    request = BenchmarkRequest(
        name=name,
        model=arguments.model,
        source=answerer_source(
            arguments.model, arguments.endpoint_model, arguments.ask, arguments.device, uri, runs_dir
        ),
        benchmarks=open_benchmarks(arguments.data, arguments.images),
        runs_dir=runs_dir,
        replicas=Replicas(arguments.replicas, arguments.cpus, 1.0 if arguments.device == "cuda" else 0.0),
        allow_skip=arguments.allow_skip,
        limit=arguments.limit,
        tracking=tracking,
        seed=arguments.seed,
    )
    with going_on(lambda: f"go on with: {resume_command(name, flag='--name')}"):
        report = run_benchmark(request)
    for table in report.tables():
        terminal.out().print(table)
    _print_notes(report.notes())
    where = runs_dir / "evaluation" / name
    terminal.out().print(f"report and answers: {where}; with pictures: MLflow run {name}", soft_wrap=True)


def _compare(runs_dir: Path, arguments: argparse.Namespace) -> None:
    from vlm3.evaluation.compare import compare, comparison_table, notes

    folders = [runs_dir / "evaluation" / name for name in arguments.compare]
    found = compare(folders[0], folders[1], arguments.seed)
    terminal.out().print(comparison_table(found, *arguments.compare))
    _print_notes(notes(found))


def _print_notes(notes: list[str]) -> None:
    for note in notes:
        terminal.out().print(note, soft_wrap=True, markup=False)


def _list_items(paths: list[str], arguments: argparse.Namespace) -> None:
    """Write the items of one benchmark, for a user who makes a file of predictions."""
    import pyarrow.parquet as pq

    from vlm3.benchmarks.opening import open_benchmarks
    from vlm3.evaluation.listing import list_items

    if len(paths) != 1:
        raise ConfigError(f"--list-items lists one benchmark, found {len(paths)} paths; give the path of its data only")
    (benchmark,) = open_benchmarks(paths, arguments.images)
    table = list_items(benchmark, benchmark.rows())
    arguments.list_items.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, arguments.list_items)
    terminal.out().print(f"{table.num_rows} items of {benchmark.name}: {arguments.list_items}", soft_wrap=True)


if __name__ == "__main__":
    run_job(main)
