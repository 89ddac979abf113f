"""Search mixture weights: `python jobs/tune.py [SEARCH.yaml] [--set key=value]... [--name NAME | --resume NAME]`."""

import argparse
from datetime import datetime
from pathlib import Path

from jobs.recipes import DEFAULT_SEARCH, recipe_file
from pipelines.runs import runs_folder
from vlm3 import terminal
from vlm3.config import apply_overrides, load_yaml
from vlm3.errors import ConfigError
from vlm3.job import going_on, resume_command, run_job, start_of
from vlm3.search.config import SearchConfig
from vlm3.search.report import results_table
from vlm3.train.recipe import load_recipe


def main() -> None:
    """Parse the command line, search, print the table and how to use the winner."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "search", nargs="?", type=Path, default=DEFAULT_SEARCH, help="YAML file of the search (default: rendered rooms)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override one key of the search, e.g. trials=20"
    )
    parser.add_argument("--recipe", type=Path, help="use this recipe instead of the one named in the search file")
    parser.add_argument("--name", help="name of the search (default: the recipe's name and the time)")
    parser.add_argument("--resume", metavar="NAME", help="continue this search; finished trials are kept")
    parser.add_argument("--runs", type=Path, default=None, help="folder of runs (default: $VLM3_RUNS or ./runs)")
    terminal.add_verbose(parser)
    arguments = parser.parse_args()
    if arguments.name and arguments.resume:
        parser.error("--name starts a new search, --resume continues one: give only one of them")
    terminal.start(verbose=arguments.verbose)
    search_path = recipe_file(arguments.search)
    config = load_search(search_path, arguments.set)
    recipe_path = recipe_file(arguments.recipe) if arguments.recipe else search_path.parent / config.recipe
    recipe = load_recipe(recipe_path)
    name = arguments.resume or arguments.name or f"{recipe.name}-{datetime.now():%Y%m%d-%H%M%S}"
    runs_dir = runs_folder(arguments.runs)
    terminal.keep_log(runs_dir / "search" / name / "log")
    # Imported here because it takes seconds: a misspelt key is reported at once.
    from pipelines.search import STATE_FILE, run_search

    begun = runs_dir / "search" / name / STATE_FILE
    with going_on(lambda: f"go on with: {resume_command(name)}" if begun.exists() else None):
        result = run_search(config, recipe, name, runs_dir, resume=bool(arguments.resume))
    console = terminal.out()
    console.print(results_table(result.space, result.trials, config.metric, config.mode))
    console.print(f"MLflow run {result.run_id}; table and picture: {result.folder}", soft_wrap=True)
    console.print(
        f"train it: {start_of('train')} {recipe_path} --with {result.folder / 'mixture.yaml'}",
        soft_wrap=True,
        highlight=False,
    )


def load_search(path: Path, overrides: list[str]) -> SearchConfig:
    """Read the file of a search, and apply `key=value` overrides.

    Raises:
        ConfigError: a key or value is wrong; the message names file, key, what was expected and the nearest valid key.
    """
    data = load_yaml(path)
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping at the top of the search, found {type(data).__name__}")
    return SearchConfig.parse(apply_overrides(data, overrides), str(path))


if __name__ == "__main__":
    run_job(main)
