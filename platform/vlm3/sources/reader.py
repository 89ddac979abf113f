"""Opens foreign datasets with the reader that fits the folder."""

import re
from pathlib import Path

from vlm3.errors import DataError
from vlm3.log import get_logger
from vlm3.scenes.protocol import Rejection, SceneReader
from vlm3.sources.jsonl import JsonLinesReader
from vlm3.sources.rgbd import INDEX, RgbdReader
from vlm3.storage.visible import visible

__all__ = ["Rejection", "SceneReader", "find_sources", "open_reader"]
log = get_logger(__name__)
SUPPORTED = (
    f"an RGB-D folder ({INDEX} beside colour images and 16-bit depth PNGs)"
    " or depth labels in JSON lines (one *.jsonl beside images)"
)


def open_reader(path: Path, source: str | None = None) -> SceneReader:
    """The reader of a dataset.

    Args:
        path: a folder, or a `.jsonl` file.
        source: name of the dataset; default: the name of the folder.

    Raises:
        DataError: nothing supported is there; the message says what is supported.
    """
    if path.suffix == ".jsonl" and path.is_file():
        return JsonLinesReader.open(path, source or source_name(path.resolve().parent))
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; expected {SUPPORTED}")
    name = source or source_name(path)
    if (path / INDEX).is_file():
        return RgbdReader.open(path, name)
    labels = visible(path.glob("*.jsonl"))
    if len(labels) > 1:
        names = ", ".join(file.name for file in labels[:5])
        raise DataError(f"{path}: {len(labels)} label files ({names}); give the path of one of them")
    if labels:
        return JsonLinesReader.open(labels[0], name)
    raise DataError(f"{path}: nothing that can be read; expected {SUPPORTED}")


def find_sources(folder: Path) -> tuple[tuple[str, Path], ...]:
    """Names and paths of the datasets in a folder: the folder itself, or those of its sub-folders that are supported.

    Raises:
        DataError: there is none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected one with data: {SUPPORTED}")
    if (folder / INDEX).is_file() or visible(folder.glob("*.jsonl")):
        open_reader(folder)
        return ((source_name(folder), folder),)
    found = []
    for child in visible(path for path in folder.iterdir() if path.is_dir()):
        try:
            open_reader(child)
        except DataError as error:
            log.info("skipped: %s", error)
        else:
            found.append((source_name(child), child))
    if not found:
        raise DataError(f"{folder}: no supported data in it or in its sub-folders; expected {SUPPORTED}")
    return tuple(found)


def source_name(folder: Path) -> str:
    """The name of a folder in letters, digits, `.`, `_` and `-`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name) or "source"
