"""Seconds from opening a source on S3 to the first batch of its stream, with ten shards or a hundred thousand.

`python bench/data/bench_first_batch.py [--runs N]` prints one table. The large sources are a few real shards that the
manifest lists again and again: what is measured is what a manifest of that length costs.
"""

import json
import statistics
import tempfile
import time
from dataclasses import replace
from hashlib import sha256
from itertools import cycle, islice
from pathlib import Path

import ray_stream as stream
from rounds import Figures, arguments, in_child, show
from s3_server import s3_server
from textured_rooms import (
    FOCALS_PX,
    FRAMES_PER_SCENE,
    POLICY,
    TexturedRooms,
    builder_of,
    make_source,
    model_directory,
    source_info,
)

from vlm3.scenes.sharded import ShardedSource
from vlm3.sources.rooms.reader import RoomsConfig
from vlm3.storage.manifest import MANIFEST, write_manifest
from vlm3.storage.shards import Shard
from vlm3.storage.split import Split
from vlm3.storage.store import open_store

FOLDER = Path(tempfile.gettempdir()) / "vlm3-bench-first-batch"
BUCKET = "bench"
ROWS = 32
CORES = 2
ROOMS = RoomsConfig(scenes=10, frames_per_scene=FRAMES_PER_SCENE, focal_range_px=FOCALS_PX)
"""Written as `MIN_GROUPS` shards at least."""


def make_buckets(folder: Path, sizes: list[int]) -> None:
    """A source a size, all of the same few shards."""
    reader = TexturedRooms(ROOMS, "rooms")
    for size in sizes:
        prefix = folder / BUCKET / str(size)
        shards = make_source(str(prefix), reader)
        store = open_store(str(prefix))
        if shards:
            store.delete(MANIFEST)
            write_manifest(store, source_info(reader), {Split.TRAIN: _listed_again(shards, size)})


def _listed_again(shards: list[Shard], size: int) -> list[Shard]:
    """The shards over and over; each with a checksum of its own, as which it is cached and as long as which it is."""
    return [
        replace(shard, file=replace(shard.file, sha256=sha256(f"{number}".encode()).hexdigest()))
        for number, shard in enumerate(islice(cycle(shards), size))
    ]


def first_batch(size: int) -> dict[str, float]:
    """Open, plan, stream one batch; Ray runs already, its workers have still to start."""
    stream.connect(CORES)
    model_dir = model_directory(FOLDER)
    started = time.perf_counter()
    source = ShardedSource.open(f"s3://{BUCKET}/{size}")
    opened_s = time.perf_counter() - started
    parcels = stream.stream_parcels(builder_of([source], [1.0], POLICY, model_dir), 1000 * ROWS, ROWS)
    rows = len(next(parcels).rows)
    first_s = time.perf_counter() - started
    parcels.close()
    return {"first_s": first_s, "opened_s": opened_s, "rows": rows, "clips": source.clips(Split.TRAIN)}


def main() -> None:
    """Every size in a process and a Ray of its own, in turn."""
    parser = arguments(__doc__)
    parser.add_argument("--shards", type=int, nargs="+", default=[10, 1_000, 100_000])
    parser.add_argument("--size", type=int, help="this one only, here, as JSON")
    options = parser.parse_args()
    if options.size:
        print(json.dumps(first_batch(options.size)), flush=True)
        return
    buckets = FOLDER / "buckets"
    make_buckets(buckets, options.shards)
    model_directory(FOLDER)
    names = {size: f"{size:,} shards" for size in options.shards}
    first_s: Figures = {name: [] for name in names.values()}
    opened_s: Figures = {name: [] for name in names.values()}
    clips = {}
    with s3_server(buckets):
        for _ in range(options.runs):
            for size, name in names.items():
                found = in_child(__file__, "--size", size, cores=CORES)
                first_s[name].append(found["first_s"])
                opened_s[name].append(found["opened_s"])
                clips[name] = f"{found['clips']:,.0f}"
    extra = {
        "of it opening, s": [f"{statistics.median(values):.2f}" for values in opened_s.values()],
        "clips": list(clips.values()),
    }
    title = f"source on S3 to first batch of {ROWS} rows of f = 1000 px, {CORES} cores"
    show(title, first_s, "s", names[options.shards[0]], extra)


if __name__ == "__main__":
    main()
