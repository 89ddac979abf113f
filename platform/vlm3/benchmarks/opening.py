"""Opens benchmarks, each with the reader that fits it."""

import json
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from vlm3.benchmarks.box_set import INDEX as BOXES
from vlm3.benchmarks.box_set import BoxSet
from vlm3.benchmarks.depth_lines import DepthLines
from vlm3.benchmarks.items import Benchmark
from vlm3.benchmarks.pair_set import INDEX as PAIRS
from vlm3.benchmarks.pair_set import PairSet
from vlm3.benchmarks.posed_images import PosedImages
from vlm3.benchmarks.rgbd_folder import RgbdFolder
from vlm3.benchmarks.shards import HeldOut
from vlm3.benchmarks.spatialrgpt import SpatialRgptBench
from vlm3.errors import ConfigError, DataError
from vlm3.sources.foreign import MAX_INDEX_BYTES, read_bounded
from vlm3.sources.reader import source_name
from vlm3.sources.rgbd import INDEX as FRAMES
from vlm3.sources.rgbd import has_depth
from vlm3.storage.manifest import MANIFEST
from vlm3.storage.store import open_store
from vlm3.storage.visible import visible

SUPPORTED = (
    f"a folder with {FRAMES} (RGB-D or posed images), {PAIRS}, {BOXES} or one *.jsonl of depth labels, a"
    " SpatialRGPT-Bench .json or .jsonl, or an ingested source"
)


def open_benchmarks(paths: Sequence[str], images: Path | None) -> tuple[Benchmark, ...]:
    """Open several benchmarks; where two would have the same name, a number is added to the later one's.

    Args:
        paths: folders, files, or URIs of ingested sources.
        images: folder of the images of published questions; default: the folder of their file.

    Raises:
        DataError: there is nothing that can be read at one of the paths.
        ConfigError: a path is given twice.
    """
    if len(set(paths)) != len(paths):
        raise ConfigError(f"the same benchmark twice: {', '.join(paths)}")
    found: list[Benchmark] = []
    for path in paths:
        name = source_name(Path(path.partition("://")[2] or path))
        taken = {benchmark.name for benchmark in found}
        free = next(n for n in chain([name], (f"{name}-{k}" for k in count(2))) if n not in taken)
        found.append(open_benchmark(path, free, images))
    return tuple(found)


def open_benchmark(path: str, name: str, images: Path | None = None) -> Benchmark:
    """The benchmark at a path, called `name`.

    Raises:
        DataError: nothing that can be read is there; the message says what is supported.
    """
    if "://" in path:
        return HeldOut.open(path, name)
    place = Path(path)
    if place.is_file():
        return _file(place, name, images)
    if not place.is_dir():
        raise DataError(f"{path}: no such file or folder; expected {SUPPORTED}")
    return _folder(place, name, images)


def _folder(place: Path, name: str, images: Path | None) -> Benchmark:
    for index, opened in ((BOXES, BoxSet.open), (PAIRS, PairSet.open), (FRAMES, _frames)):
        if (place / index).is_file():
            return opened(place, name)
    labels = visible(place.glob("*.jsonl"))
    if len(labels) == 1:
        return _file(labels[0], name, images)
    if open_store(str(place)).exists(MANIFEST):
        return HeldOut.open(str(place), name)
    found = f"{len(labels)} label files, give the path of one of them" if labels else "none of them"
    raise DataError(f"{place}: expected {SUPPORTED}; found {found}")


def _file(file: Path, name: str, images: Path | None) -> Benchmark:
    if file.suffix not in (".json", ".jsonl"):
        raise DataError(f"{file}: expected {SUPPORTED}")
    with file.open("rb") as stream:
        start = stream.read(1 << 16)
    if b'"qa_info"' in start:
        return SpatialRgptBench.open(file, name, images)
    return DepthLines.open(file, name)


def _frames(folder: Path, name: str) -> Benchmark:
    return RgbdFolder.open(folder, name) if _has_depth(folder / FRAMES) else PosedImages.open(folder, name)


def _has_depth(index: Path) -> bool:
    try:
        frames = json.loads(read_bounded(index, MAX_INDEX_BYTES))["frames"]
        return any(has_depth(entry) for entry in frames)
    except (ValueError, KeyError, TypeError, RecursionError):
        return True  # its reader says what is wrong
