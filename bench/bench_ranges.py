"""Clips fetched over clips needed, by the length of a reading task's range: `python bench/bench_ranges.py`. One table.

Pure arithmetic of the plan: a clip whose samples fall into two ranges is fetched by both.
"""

import numpy as np
from rich.console import Console
from rich.table import Table

from vlm3.mixture.plan import ComponentSize, MixturePlan

POSITIONS = 1 << 20
RANGES = (128, 512, 2048, 8192)
SLOTS = 16
VLM3_DEPTH = (0.21, 0.04, 0.01, 0.01, 0.51, 0.78, 0.006, 1.0)
"""Draw weights of VLM3's depth training (arXiv 2605.30561)."""
MIXTURES = {"1 component": (1.0,), "VLM3 depth, 8": VLM3_DEPTH, "20 equal": (1.0,) * 20, "32 equal": (1.0,) * 32}


def fetched_per_needed(weights: tuple[float, ...], positions: int) -> float:
    """Clips fetched by all ranges over distinct visits of clips."""
    sizes = [ComponentSize(f"source-{i}/depth", 12_500_000, SLOTS, "f") for i in range(len(weights))]
    plan = MixturePlan.start(sizes, weights, 0)
    draws = plan.draws(0, POSITIONS)
    visits = (draws.component << 40) + draws.visit
    fetched = np.unique((visits, draws.position // positions), axis=1).shape[1]
    return fetched / len(np.unique(visits))


def main() -> None:
    """Print the ratio for several mixtures and lengths."""
    table = Table(title=f"clips fetched over clips needed, {SLOTS} slots a clip, {POSITIONS:,} positions; bar: < 1.3")
    table.add_column("mixture")
    for positions in RANGES:
        table.add_column(f"{positions} positions", justify="right")
    for name, weights in MIXTURES.items():
        table.add_row(name, *(f"{fetched_per_needed(weights, positions):.3f}" for positions in RANGES))
    Console().print(table)


if __name__ == "__main__":
    main()
