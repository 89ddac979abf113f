"""Train a recipe: `python jobs/train.py [RECIPE] [--set KEY=VALUE]... [--name NAME [--continue] | --resume NAME]`."""

import argparse
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from jobs.recipes import DEFAULT_RECIPE, recipe_file
from pipelines.runs import RunRequest, runs_folder
from vlm3 import terminal
from vlm3.errors import ConfigError
from vlm3.job import going_on, resume_command, run_job
from vlm3.train.recipe import load_recipe

if TYPE_CHECKING:
    from pipelines.run_end import TrainResult


def main() -> None:
    """Parse the command line, train, print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "recipe",
        nargs="?",
        type=Path,
        default=DEFAULT_RECIPE,
        help="YAML recipe, or the name of a shipped one (default: rooms)",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override one key, e.g. train.steps=200"
    )
    parser.add_argument(
        "--with",
        action="append",
        default=[],
        type=Path,
        dest="overlays",
        metavar="YAML",
        help="overlay merged onto the recipe, e.g. a mixture found by jobs/tune.py",
    )
    parser.add_argument("--name", help="name of the run (default: the recipe's name and the time)")
    parser.add_argument("--resume", metavar="NAME", help="continue this run from its last checkpoint")
    parser.add_argument(
        "--continue",
        action="store_true",
        dest="go_on",
        help="with --name: start the run, continue it, or end with 0 if it is finished: one command for every try",
    )
    parser.add_argument(
        "--runs",
        type=Path,
        default=None,
        help="folder of runs, checkpoints and the MLflow database (default: $VLM3_RUNS or ./runs)",
    )
    parser.add_argument("--no-register", action="store_true", help="do not register the exported model")
    terminal.add_verbose(parser)
    arguments = parser.parse_args()
    if arguments.name and arguments.resume:
        parser.error("--name starts a new run, --resume continues one: give only one of them")
    if arguments.go_on and not arguments.name:
        raise ConfigError("--continue needs --name: the same command starts the run and continues it")
    terminal.start(verbose=arguments.verbose)
    recipe = load_recipe(recipe_file(arguments.recipe), arguments.set, arguments.overlays)
    name = arguments.resume or arguments.name or f"{recipe.name}-{datetime.now():%Y%m%d-%H%M%S}"
    runs_dir = runs_folder(arguments.runs)
    terminal.keep_log(runs_dir / "train" / name / "log")
    # Imported here because it takes seconds: a misspelt key is reported at once.
    from pipelines.run_file import RUN_FILE
    from pipelines.train import run_training

    begun = runs_dir / "train" / name / RUN_FILE
    resume = bool(arguments.resume) or (arguments.go_on and begun.exists())
    request = RunRequest(name=name, runs_dir=runs_dir, resume=resume, register=not arguments.no_register)
    with going_on(lambda: f"go on with: {resume_command(name)}" if begun.exists() else None):
        report(name, run_training(recipe, request))


def report(name: str, result: "TrainResult") -> None:
    """Print the run's figures and where to find it."""
    table = Table(title=f"run {name}")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for key, value in sorted(result.metrics.items()):
        table.add_row(key, f"{value:.4g}")
    terminal.out().print(table)
    registered = (
        "not registered"
        if result.version is None
        else f"version {result.version}" + (", now champion" if result.promoted else "")
    )
    terminal.out().print(
        f"MLflow run {result.run_id}; model: {registered}; export: {result.export_dir}", soft_wrap=True
    )


if __name__ == "__main__":
    run_job(main)
