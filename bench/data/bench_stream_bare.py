"""Samples a second that reach one consumer: the Ray Data stream beside a bare loop of the same functions.

`python bench/data/bench_stream_bare.py [--seconds S] [--runs N]` prints a table for one core and one for two.
"""

import json
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import bare_loop
from rounds import Figures, arguments, in_child, show, steady_rate
from textured_rooms import make_sources, sample_builder

FOLDER = Path(tempfile.gettempdir()) / "vlm3-bench-data"
ROWS = 32
ENOUGH_A_SECOND = 1000
"""More positions than any way gets through."""


def ray_stream(seconds: float) -> Iterator[int]:
    """The platform's stream."""
    import ray_stream as stream

    stream.connect(len(os.sched_getaffinity(0)))
    for parcel in stream.stream_parcels(sample_builder(FOLDER), int(seconds * ENOUGH_A_SECOND), ROWS):
        for row in parcel.rows:
            bare_loop.touch(row.images[0])
        yield len(parcel.rows)


WAYS: dict[str, Callable[[float], Iterator[int]]] = {
    "bare, dropped": lambda _: bare_loop.dropped(FOLDER, ROWS),
    "bare, shared memory": lambda _: bare_loop.shared(FOLDER, ROWS),
    "bare, pickled": lambda _: bare_loop.pickled(FOLDER, ROWS),
    "ours": ray_stream,
}


def main() -> None:
    """Run every way in a process of its own, in turn, and print the tables."""
    parser = arguments(__doc__, seconds=60.0, warm=10.0)
    parser.add_argument("--frames", type=int, default=256, help="of the test source")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--way", choices=list(WAYS), help="this one only, here, as JSON")
    options = parser.parse_args()
    if options.way:
        batches = WAYS[options.way](options.seconds + options.warm + 30)
        first_s, rate = steady_rate(batches, options.warm, options.seconds)
        batches.close()
        print(json.dumps({"first_s": first_s, "rate": rate}))
        return
    make_sources(FOLDER, options.frames)
    for cores in options.cores:
        rates: Figures = {name: [] for name in WAYS}
        first_s: Figures = {name: [] for name in WAYS}
        for _ in range(options.runs):
            for name in WAYS:
                timing = ("--seconds", options.seconds, "--warm", options.warm)
                found = in_child(__file__, "--way", name, *timing, cores=cores)
                rates[name].append(found["rate"])
                first_s[name].append(found["first_s"])
        title = f"1280×960 JPEGs to rows at f = 1000 px, one consumer, {cores} core(s), {options.seconds:g} s a run"
        starts = [f"{statistics.median(values):.1f}" for values in first_s.values()]
        show(title, rates, "samples/s", "bare, dropped", {"first batch, s": starts})


if __name__ == "__main__":
    main()
