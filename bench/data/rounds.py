"""Ways of doing the same, measured in turn: A B A B, so that a busy minute hurts all alike; medians and ratios."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
Figures = dict[str, list[float]]
"""By way: one figure a round."""


def arguments(doc: str | None, runs: int = 5, **seconds: float) -> argparse.ArgumentParser:
    """A parser with `--runs`, and `--seconds` where a default is given."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--runs", type=int, default=runs, help="rounds; the median is what counts")
    for name, value in seconds.items():
        parser.add_argument(f"--{name}", type=float, default=value, help="length of a measurement")
    return parser


def in_turn(ways: Mapping[str, Callable[[], float]], runs: int) -> Figures:
    """Every way once a round."""
    figures: Figures = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():
            figures[name].append(way())
    return figures


def ratios(figures: Figures, name: str, base: str) -> float:
    """Median over the rounds of a way's figure divided by the base's of the same round."""
    return statistics.median(a / b for a, b in zip(figures[name], figures[base], strict=True))


def show(title: str, figures: Figures, unit: str, base: str, extra: Mapping[str, Sequence[str]] | None = None) -> None:
    """Print one table.

    Args:
        title: above it.
        figures: of each way.
        unit: of the figures.
        base: the way that the others are divided by.
        extra: further columns: heading → cell of each way, in order.
    """
    table = Table(title=f"{title}; {len(figures[base])} runs")
    for heading in ("way", f"{unit}, median", "min–max", f"÷ {base}", *(extra or {})):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for row, (name, values) in enumerate(figures.items()):
        cells = [cells[row] for cells in (extra or {}).values()]
        spread = f"{min(values):.4g}–{max(values):.4g}"
        table.add_row(name, f"{statistics.median(values):.4g}", spread, f"{ratios(figures, name, base):.3f}", *cells)
    Console(width=140).print(table)


def steady_rate(batches: Iterator[int], warm_s: float, seconds: float) -> tuple[float, float]:
    """Follow a stream of batches, given by their numbers of samples, and leave it.

    Returns:
        (seconds to the first batch, samples a second after that and `warm_s` more). The window begins and ends with
        the arrival of a batch.
    """
    started = time.perf_counter()
    next(batches)
    first_s = time.perf_counter() - started
    begin = time.perf_counter()
    while begin < started + first_s + warm_s:
        next(batches)
        begin = time.perf_counter()
    samples, now = 0, begin
    while now < begin + seconds:
        samples += next(batches)
        now = time.perf_counter()
    return first_s, samples / (now - begin)


def in_child(script: str, *options: object, cores: int | None = None) -> dict[str, float]:
    """Run a script in a process of its own, on the first `cores` cores, and read the line of JSON that it prints."""
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    command = [sys.executable, script, *map(str, options)]
    paths = os.pathsep.join([str(ROOT / "platform"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    # Every process the child starts, Ray's included, inherits its cores.
    done = subprocess.run(
        ["taskset", "--cpu-list", ",".join(map(str, allowed)), *command],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=False,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    # Ray may have something to say after it, even on the same line.
    line = [line for line in done.stdout.splitlines() if line.startswith("{")][-1]
    figures: dict[str, float] = json.JSONDecoder().raw_decode(line)[0]
    return figures
