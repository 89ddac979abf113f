"""What the mixture plan costs: 20 sources, 250 million clips, a period of 2¹⁶. Run: `python bench/bench_plan.py`."""

import pickle
import resource
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from vlm3.mixture.ledger import Ledger
from vlm3.mixture.plan import ComponentSize, MixturePlan
from vlm3.mixture.schedule import build_schedule
from vlm3.mixture.shares import worst_share_error

SOURCES = 20
CLIPS = 250_000_000
SLOTS = 8
SCALAR_POSITIONS = 20_000
POSITIONS = 1_000_000


def main() -> None:
    """Measure and print one table."""
    components = [ComponentSize(f"source{i}/depth", CLIPS // SOURCES, SLOTS, "0") for i in range(SOURCES)]
    weights = [1 / (1 + i) for i in range(SOURCES)]
    memory_before = _peak_mib()

    def start() -> MixturePlan:
        build_schedule.cache_clear()
        plan = MixturePlan.start(components, weights, seed=0)
        plan.sample(0)
        return plan

    plan = start()
    start_s = _best_s(start)
    scalar_s = _best_s(lambda: [plan.sample(position) for position in range(SCALAR_POSITIONS)])
    far_s = _best_s(lambda: plan.sample(10**9))
    vector_s = _best_s(lambda: plan.draws(10**9, 10**9 + POSITIONS))
    block_s = _best_s(lambda: plan.draws(10**9, 10**9 + 256))
    batch = plan.draws(0, POSITIONS)
    ledger = Ledger.empty()
    steps = 1000
    order = np.arange(steps * 512).reshape(steps, 512)
    ledger_started = time.perf_counter()
    for positions in order:
        ledger = ledger.add(positions)
    ledger_s = (time.perf_counter() - ledger_started) / steps

    table = Table(title=f"mixture plan: {SOURCES} sources, {CLIPS:,} clips of {SLOTS} samples, period {plan.period}")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in (
        ("start-up, first sample included", f"{start_s * 1e3:.1f} ms"),
        ("one position", f"{scalar_s / SCALAR_POSITIONS * 1e9:,.0f} ns"),
        ("sample(10⁹)", f"{far_s * 1e6:.1f} µs"),
        (f"one of {POSITIONS:,} positions at once", f"{vector_s / POSITIONS * 1e9:,.0f} ns"),
        ("one of 256 positions at once", f"{block_s / 256 * 1e9:,.0f} ns"),
        ("plan, pickled", f"{len(pickle.dumps(plan)):,} bytes"),
        ("ledger: a step of 512 added", f"{ledger_s * 1e6:.1f} µs"),
        ("worst share error, any 512 samples", f"{worst_share_error(batch.component, plan.asked, 512):.3f} points"),
        ("memory added, 10⁶ draws held", f"{_peak_mib() - memory_before:.0f} MiB"),
    ):
        table.add_row(name, value)
    Console().print(table)


def _best_s(work: Callable[[], object], repeats: int = 5) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
