"""The command `vlm3` of an installed package: `vlm3 train …` is `python jobs/train.py …`, and so on."""

import importlib
import sys
from typing import NamedTuple

from vlm3.errors import ConfigError, nearest
from vlm3.job import COMMAND, run_job


class Command(NamedTuple):
    """A command."""

    module: str
    """File of this folder that runs it."""
    purpose: str


COMMANDS = {
    "ingest": Command("ingest", "turn posed images into shards"),
    "doctor": Command("doctor", "check the data of a source"),
    "train": Command("train", "train a recipe"),
    "reweigh": Command("reweigh", "change the mixture of a running training"),
    "tune": Command("tune", "search mixture weights"),
    "benchmark": Command("benchmark", "measure a model, compare two"),
    "serve": Command("serve_depth", "serve a model over HTTP"),
    "demo": Command("demo", "run the whole path in minutes"),
}


def main() -> None:
    """Run the command that the first argument names, with the other arguments."""
    run_job(_dispatch)


def _dispatch() -> None:
    name, *rest = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
        return
    if name not in COMMANDS:
        raise ConfigError(f"{COMMAND} {name}: no such command{nearest(name, COMMANDS)}")
    # The command's parser shows this as the name of the program, and `resume_command` repeats it.
    sys.argv = [f"{COMMAND} {name}", *rest]
    importlib.import_module(f"jobs.{COMMANDS[name].module}").main()


def usage() -> str:
    """What `vlm3 --help` prints."""
    commands = [f"  {name:10} {command.purpose}" for name, command in COMMANDS.items()]
    return "\n".join([f"usage: {COMMAND} COMMAND ...", "", *commands, "", f"options: {COMMAND} COMMAND --help"])
