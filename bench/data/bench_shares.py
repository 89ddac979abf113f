"""How far the shares of a mixture stray: our plan, Ray Data's `mix`, independent draws.

`python bench/data/bench_shares.py [--runs N] [--samples N]` prints two tables for 3 components and two for 32: over all
windows of what one consumer receives, and over the optimizer steps of what two workers receive.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import ray_stream as stream
from numpy.typing import NDArray
from rounds import Figures, arguments, show
from textured_rooms import Planned, builder_of, make_source, model_directory

from vlm3.mixture.shares import worst_share_error
from vlm3.scenes.sharded import ShardedSource
from vlm3.sources.rooms.reader import RoomsConfig, RoomsReader
from vlm3.views.unify import UnifyPolicy

FOLDER = Path(tempfile.gettempdir()) / "vlm3-bench-shares"
WINDOW = 512
WORKERS = 2
ROWS = 32
SMALL = UnifyPolicy(70.0, 32, 1024, 1 << 20)
"""Small pictures: shares are the same whatever the pixels, and come sooner."""


def sd_points(components: NDArray[np.int64], asked: NDArray[np.float64]) -> float:
    """Root mean square of realised − asked over all windows and components, in percentage points."""
    onehot = components[:, None] == np.arange(len(asked))
    before = np.concatenate([np.zeros((1, len(asked)), np.int64), np.cumsum(onehot, axis=0)])
    shares = (before[WINDOW:] - before[:-WINDOW]) / WINDOW
    return float(100 * np.sqrt(np.square(shares - asked).mean()))


def step_errors(steps: NDArray[np.int64], asked: NDArray[np.float64]) -> NDArray[np.float64]:
    """(steps, components) realised − asked in each step, in percentage points."""
    counts = np.stack([np.bincount(step, minlength=len(asked)) for step in steps])
    return 100 * (counts / steps.shape[1] - asked)


@dataclass(frozen=True, slots=True)
class Mixture:
    """What is asked for."""

    weights: NDArray[np.float64]
    samples: int

    def delivered(self, seed: int) -> NDArray[np.int64]:
        """Our plan, as Ray Data delivers its blocks."""
        parcels = stream.stream_parcels(self._builder(seed), self.samples, ROWS)
        return np.array([row.component for parcel in parcels for row in parcel.rows], np.int64)

    def planned(self, seed: int) -> NDArray[np.int64]:
        """Our plan, in order of position: what a deterministic run is given."""
        return self._builder(seed).plan.draws(0, self.samples).component

    def steps(self, seed: int, *, deterministic: bool) -> NDArray[np.int64]:
        """(steps, WINDOW) our plan, as workers receive the samples of each step."""
        planned = self._builder(seed)
        return stream.planned_steps(planned, self.samples, WINDOW, WORKERS, deterministic=deterministic)

    def mixed_steps(self, seed: int, rows: int) -> NDArray[np.int64]:
        """(steps, WINDOW) Ray Data's `mix` at the same place."""
        return stream.mixed_steps(self.weights.tolist(), self.samples, rows, WINDOW, WORKERS)

    def drawn_steps(self, seed: int) -> NDArray[np.int64]:
        """(steps, WINDOW) every sample drawn on its own."""
        return self.drawn(seed).reshape(-1, WINDOW)

    def drawn(self, seed: int) -> NDArray[np.int64]:
        """Every sample drawn on its own."""
        return np.random.default_rng(seed).choice(len(self.weights), self.samples, p=self.weights)

    def mixed(self, seed: int, rows: int) -> NDArray[np.int64]:
        """Ray Data's `mix` of blocks of `rows` rows; it has no seed."""
        return stream.mixed_components(self.weights.tolist(), self.samples, rows)

    def _builder(self, seed: int) -> Planned:
        sources = []
        for number in range(len(self.weights)):
            uri = str(FOLDER / f"source{number}")
            make_source(uri, RoomsReader(RoomsConfig(scenes=2, frames_per_scene=8, seed=number), f"source{number}"))
            sources.append(ShardedSource.open(uri))
        return builder_of(sources, self.weights.tolist(), SMALL, model_directory(FOLDER), seed)


def main() -> None:
    """Receive every stream in turn and print the tables."""
    parser = arguments(__doc__)
    parser.add_argument("--samples", type=int, default=8192, help="received a run, whole steps")
    parser.add_argument("--components", type=int, nargs="+", default=[3, 32])
    options = parser.parse_args()
    stream.connect(2)
    for count in options.components:
        weights = 1 / (1 + np.arange(count, dtype=np.float64))
        mixture = Mixture(weights / weights.sum(), options.samples)
        _windows(mixture, options.runs)
        _steps(mixture, options.runs)


def _windows(mixture: Mixture, runs: int) -> None:
    ways: dict[str, Callable[[int], NDArray[np.int64]]] = {
        "our plan, as delivered": mixture.delivered,
        "our plan, by position": mixture.planned,
        "Ray Data mix, blocks of 32": partial(mixture.mixed, rows=32),
        "Ray Data mix, blocks of 256": partial(mixture.mixed, rows=256),
        "independent draws": mixture.drawn,
    }
    asked = mixture.weights
    errors = {name: lambda seed, way=way: _of_windows(way(seed), asked) for name, way in ways.items()}
    _table(f"{len(asked)} components, all windows of {WINDOW} in {mixture.samples} samples", errors, runs)


def _steps(mixture: Mixture, runs: int) -> None:
    ways: dict[str, Callable[[int], NDArray[np.int64]]] = {
        "our plan, in order": partial(mixture.steps, deterministic=True),
        "our plan, in free order": partial(mixture.steps, deterministic=False),
        "Ray Data mix, blocks of 32": partial(mixture.mixed_steps, rows=32),
        "Ray Data mix, blocks of 256": partial(mixture.mixed_steps, rows=256),
        "independent draws": mixture.drawn_steps,
    }
    asked = mixture.weights
    errors = {name: lambda seed, way=way: _of_steps(way(seed), asked) for name, way in ways.items()}
    title = f"{len(asked)} components, {mixture.samples // WINDOW} optimizer steps of {WINDOW}, {WORKERS} workers"
    _table(title, errors, runs)


def _of_windows(components: NDArray[np.int64], asked: NDArray[np.float64]) -> tuple[float, float]:
    """Worst error and standard deviation, in percentage points."""
    return worst_share_error(components, asked, WINDOW), sd_points(components, asked)


def _of_steps(steps: NDArray[np.int64], asked: NDArray[np.float64]) -> tuple[float, float]:
    errors = step_errors(steps, asked)
    return float(np.abs(errors).max()), float(np.sqrt(np.square(errors).mean()))


def _table(title: str, ways: Mapping[str, Callable[[int], tuple[float, float]]], runs: int) -> None:
    worst: Figures = {name: [] for name in ways}
    sd: Figures = {name: [] for name in ways}
    for seed in range(runs):
        for name, way in ways.items():
            largest, spread = way(seed)
            worst[name].append(largest)
            sd[name].append(spread)
    cells = {"sd, points": [f"{np.median(values):.3f}" for values in sd.values()]}
    show(title, worst, "worst error, percentage points", "independent draws", cells)


if __name__ == "__main__":
    main()
