"""What the mixture plan and the manifests of 250 million clips cost. Run: `python bench/bench_plan.py`."""

import multiprocessing
import pickle
import resource
import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from vlm3.mixture.ledger import Ledger
from vlm3.mixture.plan import ComponentSize, MixturePlan
from vlm3.mixture.schedule import build_schedule
from vlm3.mixture.shares import worst_share_error
from vlm3.storage.manifest import MANIFEST, PREFIX, SCHEMA, Manifest, SourceInfo, read_manifest
from vlm3.storage.split import Split
from vlm3.storage.store import open_store

SOURCES = 20
CLIPS = 250_000_000
SLOTS = 8
CLIPS_PER_SHARD = 64
COMPONENTS = 32
SEGMENTS = 20
POSITIONS = 1_000_000
FAR = 10**9


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of the table."""

    name: str
    value: float
    unit: str
    bar: float | None = None
    """Not to be exceeded."""


def main() -> None:
    """Measure and print one table."""
    table = Table(
        title=f"{SOURCES} sources, {CLIPS:,} clips of {SLOTS} samples; {COMPONENTS} components in {SEGMENTS} segments"
    )
    table.add_column("figure")
    for column in ("value", "bar", "held"):
        table.add_column(column, justify="right")
    for figure in (*first_sample(), *many_changes(), *capped(), *ledger(), *manifests()):
        bar = "" if figure.bar is None else f"≤ {figure.bar:,g} {figure.unit}"
        held = "" if figure.bar is None else "yes" if figure.value <= figure.bar else "NO"
        table.add_row(figure.name, f"{figure.value:,.4g} {figure.unit}", bar, held)
    Console(width=110).print(table)


def components(count: int) -> list[ComponentSize]:
    """Components that share the clips."""
    return [ComponentSize(f"source{i}/depth", CLIPS // count, SLOTS, "0") for i in range(count)]


def first_sample() -> list[Figure]:
    """From nothing to a sample, at the start and far on."""
    weights = [1 / (1 + i) for i in range(SOURCES)]

    def start() -> MixturePlan:
        build_schedule.cache_clear()
        plan = MixturePlan.start(components(SOURCES), weights, seed=0)
        plan.sample(0)
        return plan

    plan = start()
    figures = [
        Figure("start and first sample's address", best_s(start), "s", 1),
        Figure("sample(10⁹)", 1e6 * best_s(lambda: plan.sample(FAR)), "µs"),
        Figure("draws, ranges of 1,000,000", per_position_ns(plan, POSITIONS, 0), "ns/position", 1000),
    ]
    batch = plan.draws(0, POSITIONS)
    worst = worst_share_error(batch.component, plan.asked, 512)
    return [*figures, Figure("worst share error, any 512 samples", worst, "points", 100 * 2 / 512)]


def many_changes() -> list[Figure]:
    """A plan whose weights changed often, as a run goes on and continues."""
    random = np.random.default_rng(0)
    weights = random.random((SEGMENTS, COMPONENTS)) ** 3
    plan = MixturePlan.start(components(COMPONENTS), weights[0], seed=0)
    for number in range(1, SEGMENTS):
        plan = plan.change(number * 100_003, weights[number], issued=number * 100_003)
    assert len(plan.segments) == SEGMENTS
    text = plan.to_json()

    def resume() -> None:
        build_schedule.cache_clear()
        MixturePlan.from_json(text, components(COMPONENTS)).sample(FAR)

    shipped = pickle.dumps(plan)
    return [
        Figure("resume there: from text to sample(10⁹)", best_s(resume), "s", 1),
        Figure("draws, ranges of 256, changed often", per_position_ns(plan, 256, 0), "ns/position"),
        Figure("draws, ranges of 1,000, changed often", per_position_ns(plan, 1000, 0), "ns/position", 1000),
        Figure("draws, ranges of 1,000 at 10⁹", per_position_ns(plan, 1000, FAR), "ns/position", 1000),
        Figure("draws, one range over every change", per_position_ns(plan, 2_000_060, 0), "ns/position", 1000),
        Figure("a live change", best_s(lambda: plan.change(3_000_000, weights[0], 3_000_000)), "s", 1),
        Figure("plan, pickled", len(shipped) / 1e3, "kB"),
        Figure("plan, received by a task", 1e6 * best_s(lambda: pickle.loads(shipped)), "µs"),  # noqa: S301
    ]


def capped() -> list[Figure]:
    """Every component but one has a cap: all their ends are reckoned at the start."""
    weights = [1 / (1 + i) for i in range(SOURCES)]

    def start() -> None:
        build_schedule.cache_clear()
        caps = [*(0.5 + i for i in range(SOURCES - 1)), None]
        plan = MixturePlan.start(components(SOURCES), weights, 0, max_epochs=caps)
        plan.sample(0)
        assert len(plan.segments) == SOURCES

    return [Figure("start with 19 caps, first sample", best_s(start, 3), "s", 1)]


def ledger() -> list[Figure]:
    """What a step adds to the ledger."""
    steps = 1000
    held = Ledger.empty()
    started = time.perf_counter()
    for positions in np.arange(steps * 512).reshape(steps, 512):
        held = held.add(positions)
    return [Figure("ledger: a step of 512 added", (time.perf_counter() - started) / steps * 1e6, "µs")]


def manifests() -> list[Figure]:
    """The manifests of all sources, held at once by one process, as one that reads every source does."""
    clips = CLIPS // SOURCES
    with tempfile.TemporaryDirectory() as folder:
        write_simulated(Path(folder), clips // CLIPS_PER_SHARD)
        # A process of its own: the memory of what was measured before is not counted.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(hold_manifests, (folder,))


def hold_manifests(folder: str) -> list[Figure]:
    """Load the manifest once for each source, and locate what the plan draws."""
    before_mb = resident_mb()
    started = time.perf_counter()
    held = [read_manifest(open_store(folder)) for _ in range(SOURCES)]
    load_s = (time.perf_counter() - started) / SOURCES
    plan = MixturePlan.start(components(SOURCES), [1.0] * SOURCES, seed=0)
    where = plan.draws(FAR, FAR + 2000)
    drawn = zip(where.component.tolist(), where.clip.tolist(), strict=True)
    places = [(held[number], clip % held[number].splits[Split.TRAIN].clips) for number, clip in drawn]
    shards = sum(len(manifest.splits[Split.TRAIN]) for manifest in held)
    return [
        Figure(f"load a manifest of {shards // SOURCES:,} shards", load_s, "s", 1),
        Figure("locate a clip", 1e6 * best_s(lambda: locate_all(places)) / len(places), "µs", 100),
        Figure(f"memory of {shards:,} shards, added", resident_mb() - before_mb, "MB"),
        Figure("memory of the process, all held", resident_mb(), "MB", 500),
        Figure("memory of the process, peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, "MB", 500),
    ]


def locate_all(places: list[tuple[Manifest, int]]) -> None:
    """Find each clip's shard."""
    for manifest, clip in places:
        manifest.locate(Split.TRAIN, clip)


def write_simulated(folder: Path, shards: int) -> None:
    """A manifest as ingest writes it, of shards that are not there."""
    numbers = np.arange(shards)
    info = SourceInfo("simulated", "train", 1, SLOTS, "metric", "0", 0, "0")
    metadata = {PREFIX + key: str(value) for key, value in asdict(info).items()} | {PREFIX + "fingerprint": "0"}
    columns = {
        "split": ["train"] * shards,
        "number": numbers,
        "path": [f"train-g0-{number:05d}-000.parquet" for number in numbers],
        "clips": np.full(shards, CLIPS_PER_SHARD),
        "first_clip": numbers * CLIPS_PER_SHARD,
        "frames": np.full(shards, CLIPS_PER_SHARD * SLOTS),
        "size_bytes": np.full(shards, 256 << 20) + numbers,
        "sha256": [secrets.token_hex(32) for _ in range(shards)],
        "footer_bytes": np.full(shards, 60_000) + numbers % 500,
    }
    table = pa.table(columns, schema=SCHEMA.with_metadata(metadata))
    pq.write_table(table, folder / MANIFEST, compression="zstd")


def per_position_ns(plan: MixturePlan, length: int, start: int) -> float:
    """Planning a range, per position; the range lies across a change where there are many."""
    begin = start or 500_000 * (length < POSITIONS)
    return 1e9 * best_s(lambda: plan.draws(begin, begin + length)) / length


def best_s(work: Callable[[], object], repeats: int = 5) -> float:
    """Seconds of the fastest of some runs."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def resident_mb() -> float:
    """Memory that the process holds now."""
    pa.default_memory_pool().release_unused()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


if __name__ == "__main__":
    main()
