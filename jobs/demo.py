"""Run the whole path in minutes: data, train, evaluate, register, search, serve one answer. `make demo` runs it."""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from rich.table import Table

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
from vlm3.scenes.sharded import ShardedSource
from vlm3.search.config import SearchConfig
from vlm3.sources.reader import find_sources, open_reader
from vlm3.storage.split import Split
from vlm3.train.evaluate import held_out_frames
from vlm3.train.recipe import Recipe, SourceConfig, load_recipe

RECIPE = Path(__file__).resolve().parent / "recipes" / "rooms.yaml"
TRIALS, TRIAL_STEPS = 2, 40


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
    arguments = parser.parse_args()
    terminal.start(verbose=arguments.verbose)
    runs_dir = runs_folder()
    timer = Timer()
    stamp = f"{datetime.now():%Y%m%d-%H%M%S}"
    terminal.keep_log(runs_dir / "train" / f"demo-{stamp}" / "log")
    with timer.part("start Ray"):
        connect()
    with timer.part("data"):
        recipe = load_recipe(RECIPE, arguments.set)
        if arguments.data is not None:
            recipe = with_real_sources(recipe, arguments.data, runs_dir)
        sources = open_sources(recipe, runs_dir)
        show_sources(recipe, sources)
    with timer.part("train, evaluate, register"):
        result = run_training(recipe, RunRequest(name=f"demo-{stamp}", runs_dir=runs_dir))
    with timer.part("search the mixture"):
        search = SearchConfig(
            trials=TRIALS, steps=TRIAL_STEPS, sources=tuple(n for n, s in recipe.sources.items() if s.weight > 0)
        )
        best = run_search(search, recipe, f"demo-search-{stamp}", runs_dir).weights
    with timer.part("serve one answer"):
        frame = next(iter(held_out_frames(sources["rooms"], 1)))
        answer = answer_once(recipe.tracking, runs_dir, frame)
        terminal.out().print(answer, markup=False, soft_wrap=True)
    show_result(recipe, result, best, timer, runs_dir)


def with_real_sources(recipe: Recipe, folder: Path, runs_dir: Path) -> Recipe:
    """Recipe with the sources of `folder` ingested: posed ones get half of the stream, others are only evaluated."""
    weights = {name: source.weight for name, source in recipe.sources.items()}
    real: dict[str, SourceConfig] = {}
    for name, path in find_sources(folder):
        reader = open_reader(path, name)
        uri = str(runs_dir / "data" / name)
        role = "train" if reader.posed else "eval"
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
    return recipe.model_copy(update={"sources": mixed})


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
        own, constant = f"eval/{name}", f"eval/{name}/constant"
        table.add_row(
            f"δ1 on {name} (best constant)", f"{metrics[own + '/delta1']:.3f} ({metrics[constant + '_delta1']:.3f})"
        )
        table.add_row(f"AbsRel on {name}", f"{metrics[own + '/abs_rel']:.3f} ({metrics[constant + '_abs_rel']:.3f})")
    table.add_row("samples/s", f"{metrics['samples_per_s']:.0f}")
    for name in [key.removeprefix("asked/") for key in metrics if key.startswith("asked/")]:
        table.add_row(
            f"share of {name}, asked / realised", f"{metrics['asked/' + name]:.4f} / {metrics['realised/' + name]:.4f}"
        )
    table.add_row("best mixture found", ", ".join(f"{name} {weight:.2f}" for name, weight in best.items()))
    for part, seconds in timer.seconds.items():
        table.add_row(f"seconds: {part}", f"{seconds:.0f}")
    table.add_row("seconds in all (install apart)", f"{sum(timer.seconds.values()):.0f}")
    champion = "champion" if result.promoted else "the champion before was better"
    table.add_row("model", f"{recipe.tracking.registered_model} version {result.version} ({champion})")
    table.add_row("MLflow run", f"{result.run_id} in {runs_dir}")
    table.add_row("open its dashboard", "make dashboard")
    terminal.out().print(table)


if __name__ == "__main__":
    run_job(main)
