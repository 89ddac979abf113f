"""How far the shares of a mixture stray, as one consumer receives it: our plan, Ray Data's `mix`, independent draws.

`python bench/data/bench_shares.py [--runs N] [--samples N]` prints a table for 3 components and one for 32.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import ray_stream as stream
from numpy.typing import NDArray
from rounds import Figures, arguments, show
from textured_rooms import Planned, builder_of, make_source, model_directory

from vlm3.mixture.shares import worst_share_error
from vlm3.scenes.rooms import RoomsConfig, RoomsReader
from vlm3.scenes.sharded import ShardedSource
from vlm3.views.unify import GridPolicy, UnifyPolicy

FOLDER = Path(tempfile.gettempdir()) / "vlm3-bench-shares"
WINDOW = 512
ROWS = 32
SMALL = UnifyPolicy(70.0, GridPolicy.CROP, 32, 1024, 1 << 20)
"""Pictures of 160×96 px: shares are the same whatever the pixels, and come sooner."""


def sd_points(components: NDArray[np.int64], asked: NDArray[np.float64]) -> float:
    """Root mean square of realised − asked over all windows and components, in percentage points."""
    onehot = components[:, None] == np.arange(len(asked))
    before = np.concatenate([np.zeros((1, len(asked)), np.int64), np.cumsum(onehot, axis=0)])
    shares = (before[WINDOW:] - before[:-WINDOW]) / WINDOW
    return float(100 * np.sqrt(np.square(shares - asked).mean()))


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
    parser.add_argument("--samples", type=int, default=16_384, help="received a run")
    parser.add_argument("--components", type=int, nargs="+", default=[3, 32])
    options = parser.parse_args()
    stream.connect(2)
    for count in options.components:
        weights = 1 / (1 + np.arange(count, dtype=np.float64))
        mixture = Mixture(weights / weights.sum(), options.samples)
        ways: dict[str, Callable[[int], NDArray[np.int64]]] = {
            "our plan, as delivered": mixture.delivered,
            "our plan, by position": mixture.planned,
            "Ray Data mix, blocks of 32": partial(mixture.mixed, rows=32),
            "Ray Data mix, blocks of 256": partial(mixture.mixed, rows=256),
            "independent draws": mixture.drawn,
        }
        worst: Figures = {name: [] for name in ways}
        sd: Figures = {name: [] for name in ways}
        for seed in range(options.runs):
            for name, way in ways.items():
                found = way(seed)
                worst[name].append(worst_share_error(found, mixture.weights, WINDOW))
                sd[name].append(sd_points(found, mixture.weights))
        title = f"{count} components, all windows of {WINDOW} in {options.samples} samples"
        spread = {"sd, points": [f"{np.median(values):.3f}" for values in sd.values()]}
        show(title, worst, "worst error, percentage points", "independent draws", spread)


if __name__ == "__main__":
    main()
