"""Samples a second of five loaders on the same frames, each in its own format, two workers, one consumer.

`python bench/data/bench_loaders.py [--seconds S] [--runs N]`; needs `pip install -e '.[bench]'` and MosaicML Streaming
(`make bench-data` installs both). First with our functions plugged into each, then with the usual full decode,
bicubic resize and crop.
"""

import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from bare_loop import touch
from records import FIELDS, Record, ToBatch, format_folder, write_all
from rounds import Figures, arguments, in_child, show, steady_rate
from textured_rooms import make_sources, model_directory, sample_builder

FOLDER = Path(gettempdir()) / "vlm3-bench-data"
BATCH, WORKERS = 32, 2
ENDLESS = 10_000_000
SHUFFLED = 128
LONG = 500


def delivered(dataset: Any, to_batch: ToBatch, **settings: Any) -> Iterator[int]:
    """Batches of a torch DataLoader, touched."""
    import torch
    from torch.utils.data import DataLoader

    torch.set_num_threads(1)
    for batch in DataLoader(dataset, BATCH, num_workers=WORKERS, collate_fn=to_batch, **settings):
        touch(batch.pixels.numpy())
        yield len(batch.positions)


class Files:
    """A map-style data set of files."""

    def __init__(self, folder: Path) -> None:
        """List them once."""
        self.stems = sorted(path.with_suffix("") for path in folder.glob("*.jpeg"))

    def __len__(self) -> int:
        """Frames."""
        return len(self.stems)

    def __getitem__(self, index: int) -> Record:
        """Read one."""
        return {name: self.stems[index].with_suffix(f".{name}").read_bytes() for name in FIELDS}


def torch_files(to_batch: ToBatch) -> Iterator[int]:
    """Single files, drawn at random without end."""
    from torch.utils.data import RandomSampler

    dataset = Files(format_folder(FOLDER, "files"))
    return delivered(dataset, to_batch, sampler=RandomSampler(dataset, replacement=True, num_samples=ENDLESS))


def webdataset_tar(to_batch: ToBatch) -> Iterator[int]:
    """Tar shards."""
    import webdataset

    urls = [str(path) for path in sorted(format_folder(FOLDER, "tar").glob("*.tar"))]
    return delivered(webdataset.WebDataset(urls, shardshuffle=100).repeat().shuffle(SHUFFLED), to_batch)


def datasets_parquet(to_batch: ToBatch) -> Iterator[int]:
    """Parquet read as a stream."""
    import datasets

    files = [str(path) for path in sorted(format_folder(FOLDER, "parquet").glob("*.parquet"))]
    # One long epoch: at the end of each this library sleeps for 5 s, which large data would hardly notice.
    stream = datasets.load_dataset("parquet", data_files=files * LONG, streaming=True, split="train")
    return delivered(stream.shuffle(seed=0, buffer_size=SHUFFLED), to_batch)


def mosaicml_mds(to_batch: ToBatch) -> Iterator[int]:
    """MDS shards on local disk."""
    from mosaic import streaming

    folder = str(format_folder(FOLDER, "mds"))
    dataset = streaming().StreamingDataset(local=folder, batch_size=BATCH, shuffle=True, epoch_size=1_000_000)
    return delivered(dataset, to_batch)


def ours(to_batch: ToBatch) -> Iterator[int]:
    """The platform's stream, collated where it arrives, as training workers do."""
    import ray_stream as stream

    from vlm3.tokens.batch import collate
    from vlm3.tokens.vision import VisionSpec

    stream.connect(WORKERS)
    spec = VisionSpec.from_directory(to_batch.model_dir)
    for parcel in stream.stream_parcels(sample_builder(FOLDER), 3200 * BATCH, BATCH):
        batch = collate(parcel.rows, spec)
        touch(batch.pixels.numpy())
        yield len(batch.positions)


LOADERS: dict[str, Callable[[ToBatch], Iterator[int]]] = {
    "ours": ours,
    "torch DataLoader, files": torch_files,
    "mosaicml-streaming, MDS": mosaicml_mds,
    "webdataset, tar": webdataset_tar,
    "datasets, Parquet": datasets_parquet,
}


def main() -> None:
    """Every loader in a process of its own, in turn."""
    parser = arguments(__doc__, seconds=30.0, warm=10.0)
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--way", choices=list(LOADERS), help="this one only, here, as JSON")
    parser.add_argument("--usual", action="store_true", help="with the usual resize, for --way")
    options = parser.parse_args()
    if options.way:
        batches = LOADERS[options.way](ToBatch(model_directory(FOLDER), options.usual))
        first_s, rate = steady_rate(batches, options.warm, options.seconds)
        print(json.dumps({"first_s": first_s, "rate": rate}), flush=True)
        batches.close()
        return
    make_sources(FOLDER, options.frames)
    write_all(FOLDER)
    for usual in (False, True):
        rates: Figures = {name: [] for name in LOADERS}
        first_s: Figures = {name: [] for name in LOADERS}
        for _ in range(options.runs):
            for name in LOADERS:
                timing = ("--seconds", options.seconds, "--warm", options.warm)
                # Ours stays as it is: what the others do in its place changes.
                found = in_child(__file__, "--way", name, *timing, *(["--usual"] if usual else []), cores=WORKERS)
                rates[name].append(found["rate"])
                first_s[name].append(found["first_s"])
        title = "the others with the usual resize" if usual else "our functions plugged into all"
        starts = [f"{statistics.median(values):.1f}" for values in first_s.values()]
        show(
            f"{title}: {WORKERS} workers, {options.seconds:g} s a run", rates, "samples/s", "ours", {"first, s": starts}
        )


if __name__ == "__main__":
    main()
