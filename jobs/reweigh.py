"""Change the mixture of a running job: `python jobs/reweigh.py RUN --set source/task=weight... [--runs DIR]`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from pipelines.runs import runs_folder
from vlm3 import terminal
from vlm3.errors import ConfigError, nearest
from vlm3.job import run_job
from vlm3.mixture.components import weights_by_name
from vlm3.mixture.keeper import read_plan
from vlm3.mixture.plan import MixturePlan
from vlm3.mixture.requests import REQUEST_FILE, WeightsOutcome, submit_request, wait_for_outcome
from vlm3.train.progress import SUMMARY_FILE


def main() -> None:
    """Parse the command line, ask the run, print from which position the new weights hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", metavar="RUN", help="name of the run, as jobs/train.py was given or printed it")
    parser.add_argument(
        "--set",
        action="append",
        required=True,
        metavar="SOURCE/TASK=WEIGHT",
        help="relative weight of a component from now on, e.g. rooms/depth=0.4; the others keep theirs",
    )
    parser.add_argument("--runs", type=Path, default=None, help="folder of runs (default: $VLM3_RUNS or ./runs)")
    parser.add_argument("--timeout-s", type=float, default=120.0, help="how long to wait for the run's answer")
    arguments = parser.parse_args()
    weights = parse_weights(arguments.set)
    run_dir = runs_folder(arguments.runs) / "train" / arguments.run
    before = running_plan(run_dir)
    weights_by_name(before.components, weights)
    outcome = wait_for_outcome(run_dir, submit_request(run_dir, weights), arguments.timeout_s)
    report(run_dir, outcome, arguments.timeout_s)


def parse_weights(assignments: Sequence[str]) -> dict[str, float]:
    """Component → weight from `--set` arguments.

    Raises:
        ConfigError: an argument is not source/task=number.
    """
    weights = {}
    for assignment in assignments:
        name, _, text = assignment.rpartition("=")
        try:
            weights[name] = float(text)
        except ValueError:
            name = ""
        if not name:
            raise ConfigError(f"--set {assignment!r}: expected source/task=weight, e.g. --set rooms/depth=0.4")
    return weights


def running_plan(run_dir: Path) -> MixturePlan:
    """The plan of a run that has not ended.

    Raises:
        ConfigError: there is no such run, it has ended, or it has not read samples yet.
    """
    if not run_dir.is_dir():
        names = [folder.name for folder in run_dir.parent.glob("*")]
        raise ConfigError(f"no run {run_dir.name!r} in {run_dir.parent}{nearest(run_dir.name, names)}")
    if (run_dir / SUMMARY_FILE).exists():
        raise ConfigError(f"run {run_dir.name!r} has ended: its weights cannot change any more; start another run")
    plan = read_plan(run_dir)
    if plan is None:
        raise ConfigError(f"run {run_dir.name!r} has not begun to read samples: try again in a moment")
    return plan


def report(run_dir: Path, outcome: WeightsOutcome | None, timeout_s: float) -> None:
    """Print the position at which the new weights begin, and the shares before and after it.

    Raises:
        ConfigError: the request was refused, or is not answered yet.
    """
    if outcome is None:
        raise ConfigError(
            f"no answer within {timeout_s:g} s: the request stays in {run_dir / REQUEST_FILE} and is answered when the"
            " run reads its next samples; delete that file to withdraw it"
        )
    plan = read_plan(run_dir)
    if outcome.from_position is None or plan is None:
        raise ConfigError(f"run {run_dir.name!r} refused: {outcome.refused}")
    start = outcome.from_position
    holds = f"run {run_dir.name}: new weights from position {start:,} on, in step {outcome.step:,}"
    terminal.out().print(holds, markup=False, soft_wrap=True)
    table = Table()
    for column in ("component", "share before", "share now"):
        table.add_column(column, justify="left" if column == "component" else "right")
    for size, old, new in zip(plan.components, plan.asked_at(max(start - 1, 0)), plan.asked_at(start), strict=True):
        table.add_row(size.name, f"{old:.2%}", f"{new:.2%}")
    terminal.out().print(table)


if __name__ == "__main__":
    run_job(main)
