"""Run the whole path in minutes: data, train, evaluate, register, search, serve one answer. `make demo` runs it."""

import argparse
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from rich.table import Table

from jobs.recipes import DEFAULT_RECIPE
from pipelines.cluster import connect
from pipelines.ingest import IngestConfig, ingest
from pipelines.run_end import TrainResult
from pipelines.runs import RunRequest, runs_folder
from pipelines.search import run_search
from pipelines.sources import open_sources
from pipelines.train import run_training
from serve.once import answer_once
from vlm3 import terminal
from vlm3.job import run_job
from vlm3.scenes.schema import Scale
from vlm3.scenes.sharded import ShardedSource
from vlm3.search.config import SearchConfig
from vlm3.sources.reader import find_sources, open_reader
from vlm3.storage.atomic import replace_file
from vlm3.storage.manifest import Role
from vlm3.storage.split import Split
from vlm3.tracking.runs import TrackedRun, tracking_uri
from vlm3.train.evaluate import held_out_frames
from vlm3.train.recipe import Recipe, SourceConfig, load_recipe

GAIN = ("delta1", "constant_delta1", "delta1_gain", "delta1_gain_low", "delta1_gain_high")
FIGURES = (*GAIN, "abs_rel", "constant_abs_rel")
TRIALS, TRIAL_STEPS, TRIAL_IMAGES = 2, 12, 50
"""The trials only show what a search does. They run side by side, each with one worker: half of a trial is start-up."""


@dataclass(slots=True)
class Timer:
    """Times the parts of the demo: seconds of each, in order."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Announce a part and time it."""
        terminal.out().rule(name, align="left")
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started


def main() -> None:
    """Run every part once and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of supported data, or of such folders, to use as well")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of the recipe")
    terminal.add_verbose(parser)
    parser.add_argument("--seed", type=int, help="seed of the weights and of everything that is drawn")
    arguments = parser.parse_args()
    terminal.start(verbose=arguments.verbose)
    runs_dir = runs_folder()
    timer = Timer()
    name = f"demo-{datetime.now():%Y%m%d-%H%M%S}"
    terminal.keep_log(runs_dir / "train" / name / "log")
    with timer.part("start Ray"):
        connect()
    with timer.part("data"):
        seed = [] if arguments.seed is None else [f"seed={arguments.seed}"]
        recipe = load_recipe(DEFAULT_RECIPE, [*seed, *arguments.set])
        if arguments.data is not None:
            recipe = with_real_sources(recipe, arguments.data, runs_dir)
        sources = open_sources(recipe, runs_dir)
        show_sources(recipe, sources)
    with timer.part("train, evaluate, register"):
        result = run_training(recipe, RunRequest(name=name, runs_dir=runs_dir))
    with timer.part("search the mixture"):
        images = min(TRIAL_IMAGES, recipe.evaluation.images)
        search = SearchConfig(
            trials=TRIALS,
            steps=TRIAL_STEPS,
            max_concurrent=TRIALS,
            overrides=("train.workers=1", f"evaluation.images={images}"),
            sources=tuple(n for n, s in recipe.sources.items() if s.weight > 0),
        )
        best = run_search(search, recipe, f"search-{name}", runs_dir).weights
    with timer.part("serve one answer"):
        names = (recipe.evaluation.primary, *recipe.sources)
        asked = next(n for n in names if n is not None and f"eval/{n}/delta1" in result.metrics)
        frame = next(iter(held_out_frames(sources[asked], 1)))
        answer = answer_once(recipe.tracking, runs_dir, frame, result.version)
        terminal.out().print(answer, markup=False, soft_wrap=True)
    show_result(recipe, result, best, timer, runs_dir)
    summary = runs_dir / "demo" / name / "summary.json"
    write_summary(summary, asked, result, timer)
    show_where(recipe, asked, result, runs_dir, summary)


def with_real_sources(recipe: Recipe, folder: Path, runs_dir: Path) -> Recipe:
    """Recipe with the sources of `folder` ingested: posed ones get half of the stream, others are only evaluated."""
    weights = {name: source.weight for name, source in recipe.sources.items()}
    real: dict[str, SourceConfig] = {}
    for name, path in find_sources(folder):
        reader = open_reader(path, name)
        uri = str(runs_dir / "data" / name)
        role: Role = "train" if reader.posed else "eval"
        ingest(reader, uri, IngestConfig(role=role))
        trained = role == "train"
        real[name] = SourceConfig(uri=uri, weight=1.0 if trained else 0.0)
    total = sum(weights.values())
    # Without a posed source all real weights are 0.
    count = max(1, sum(source.weight > 0 for source in real.values()))
    mixed = {
        name: source.model_copy(update={"weight": source.weight / total}) for name, source in recipe.sources.items()
    }
    mixed |= {name: source.model_copy(update={"weight": source.weight / count}) for name, source in real.items()}
    named = recipe.evaluation.sources
    # None named means all that can be evaluated.
    asked = recipe.evaluation.model_copy(update={"sources": (*named, *held_out(real)) if named else ()})
    return recipe.model_copy(update={"sources": mixed, "evaluation": asked})


def held_out(sources: dict[str, SourceConfig]) -> list[str]:
    """Names of the sources that hold scenes out and are in metres, so that they can be evaluated."""
    opened = {name: ShardedSource.open(str(source.uri)) for name, source in sources.items()}
    return [name for name, source in opened.items() if source.clips(Split.EVAL) and source.scale == Scale.METRIC]


def show_sources(recipe: Recipe, sources: dict[str, ShardedSource]) -> None:
    """Print a table of the sources."""
    table = Table()
    for column in ("source", "role", "weight", "training frames", "held-out frames"):
        table.add_column(column)
    for name, source in sources.items():
        frames = (f"{source.frames(split)}" for split in (Split.TRAIN, Split.EVAL))
        table.add_row(name, source.role, f"{recipe.sources[name].weight:.3g}", *frames)
    terminal.out().print(table)


def show_result(recipe: Recipe, result: TrainResult, best: dict[str, float], timer: Timer, runs_dir: Path) -> None:
    """Print the table of results."""
    metrics = result.metrics
    table = Table(title="demo", show_header=False)
    table.add_row("loss, first → last", f"{metrics['loss_first']:.3f} → {metrics['loss_last']:.3f}")
    for name in [n for n in recipe.sources if f"eval/{n}/delta1" in metrics]:
        found = {key: metrics[f"eval/{name}/{key}"] for key in FIGURES}
        table.add_row(f"δ1 on {name}, best constant", f"{found['delta1']:.3f}, {found['constant_delta1']:.3f}")
        interval = f"[{found['delta1_gain_low']:.3f}, {found['delta1_gain_high']:.3f}]"
        table.add_row("  gain, 95 % interval by scene", f"{found['delta1_gain']:+.3f} {interval}")
        table.add_row("  AbsRel, best constant", f"{found['abs_rel']:.3f}, {found['constant_abs_rel']:.3f}")
    table.add_row("samples/s", f"{metrics['samples_per_s']:.0f}")
    for name in [key.removeprefix("asked/") for key in metrics if key.startswith("asked/") and metrics[key] > 0]:
        table.add_row(
            f"share of {name}, asked / realised", f"{metrics['asked/' + name]:.4f} / {metrics['realised/' + name]:.4f}"
        )
    total = sum(best.values())
    table.add_row("best mixture found", ", ".join(f"{name} {weight / total:.2f}" for name, weight in best.items()))
    for part, seconds in timer.seconds.items():
        table.add_row(f"seconds: {part}", f"{seconds:.0f}")
    table.add_row("seconds in all (install apart)", f"{sum(timer.seconds.values()):.0f}")
    champion = "champion" if result.promoted else "the champion stays"
    table.add_row("model", f"{recipe.tracking.registered_model} version {result.version} ({champion})")
    table.add_row("MLflow run", result.run_id)
    terminal.out().print(table)


def write_summary(path: Path, name: str, result: TrainResult, timer: Timer) -> None:
    """Write what a script wants to know of the demo and of the evaluated source `name`; NaN becomes null."""
    measured = {key: result.metrics.get(f"eval/{name}/{key}", math.nan) for key in FIGURES}
    found = {key: value if math.isfinite(value) else None for key, value in measured.items()}
    plain = {
        "source": name,
        "delta1": found["delta1"],
        "delta1_constant": found["constant_delta1"],
        "gain": found["delta1_gain"],
        "interval": [found["delta1_gain_low"], found["delta1_gain_high"]],
        "seconds": {part: round(seconds, 1) for part, seconds in timer.seconds.items()},
        "seconds_in_all": round(sum(timer.seconds.values()), 1),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, (json.dumps(plain, indent=2) + "\n").encode())


def show_where(recipe: Recipe, name: str, result: TrainResult, runs_dir: Path, summary: Path) -> None:
    """Print where the pictures of the evaluated source `name` are, and the commands to look further."""
    run = TrackedRun(tracking_uri(recipe.tracking, runs_dir), result.run_id)
    asked, step = f"evaluation/{name}", f"{recipe.train.steps:06d}"
    lines = [
        f"what it was trained on: {run.place('samples.png')}",
        f"answers over truth:     {run.place(f'{asked}/scatter-{step}.png')}",
        f"answers on an image:    {run.place(f'{asked}/overlay-{step}-0.png')}",
        f"these figures as JSON:  {summary}",
        "the dashboard:          make dashboard",
        "ask over HTTP:          python jobs/serve_depth.py, and then docs/serving.md",
    ]
    for line in lines:
        terminal.out().print(line, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run_job(main)
