"""Readers of foreign datasets: what they give, and which one fits a folder."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vlm3.errors import DataError
from vlm3.log import get_logger
from vlm3.scenes.schema import Frame

log = get_logger(__name__)
MAX_INDEX_BYTES = 1 << 30
MAX_FILE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Rejection:
    """A frame that cannot be used, and why."""

    source: str
    scene: str
    frame: str
    reason: str


class SceneReader(Protocol):
    """A foreign dataset. Implementations are picklable and read frames lazily."""

    @property
    def source(self) -> str:
        """Name of the source."""
        ...

    @property
    def posed(self) -> bool:
        """True when frames of a scene have poses in one world."""
        ...

    def scenes(self) -> tuple[str, ...]:
        """Names of all scenes; cheap."""
        ...

    def frames(self, scene: str) -> Iterator[Frame | Rejection]:
        """Frames of a scene in order; a frame that cannot be read is a Rejection."""
        ...


def open_reader(path: Path, source: str | None = None) -> SceneReader:
    """The reader that fits a folder.

    Args:
        path: folder with `frames.json` (RGB-D, posed or not) or with one `*.jsonl` of labels (iBims-1 / DepthLM).
        source: name of the source; default: the folder's.

    Raises:
        DataError: no such folder, nothing supported in it, or a malformed index.
    """
    from vlm3.scenes.jsonl import JsonLinesReader
    from vlm3.scenes.rgbd import RgbdReader

    if not path.is_dir():
        raise DataError(f"{path}: no such folder; give the folder of a dataset")
    name = source or path.resolve().name
    if (path / "frames.json").is_file():
        return RgbdReader.open(path, name)
    labels = sorted(path.glob("*.jsonl"))
    if len(labels) == 1:
        return JsonLinesReader.open(labels[0], name)
    found = f"{len(labels)} .jsonl files" if labels else "neither"
    raise DataError(
        f"{path}: expected a frames.json (RGB-D frames) or one .jsonl file of labels (iBims-1 / DepthLM), found {found}"
    )


def find_sources(folder: Path) -> tuple[tuple[str, Path], ...]:
    """(name, folder) of every supported dataset: `folder` itself, or those below it; others are skipped and logged.

    Raises:
        DataError: nothing supported.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give a folder of supported data")
    candidates = [folder] if _supported(folder) else sorted(child for child in folder.iterdir() if child.is_dir())
    found = []
    for candidate in candidates:
        if _supported(candidate):
            found.append((candidate.resolve().name, candidate))
        else:
            log.info("%s: skipped, it has neither a frames.json of RGB-D frames nor one .jsonl of labels", candidate)
    if not found:
        raise DataError(
            f"{folder}: no supported data in it: expected folders with a frames.json or one .jsonl of labels"
        )
    return tuple(found)


def _supported(folder: Path) -> bool:
    if not (folder / "frames.json").is_file():
        return len(list(folder.glob("*.jsonl"))) == 1
    index = read_index(folder / "frames.json")
    frames = index.get("frames") if isinstance(index, dict) else None
    return (
        bool(frames)
        and isinstance(frames, list)
        and isinstance(frames[0], dict)
        and {"image", "depth", "K"} <= frames[0].keys()
    )


def read_index(path: Path) -> Any:
    """JSON of a dataset's index file.

    Raises:
        DataError: missing, too large or not JSON.
    """
    try:
        if path.stat().st_size > MAX_INDEX_BYTES:
            raise DataError(f"{path}: {path.stat().st_size} bytes, an index has at most {MAX_INDEX_BYTES}")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}") from None


def read_inside(root: Path, relative: str) -> bytes:
    """Bytes of a file that an index names; never outside the dataset's folder.

    Raises:
        DataError: the path leaves the folder (also by a link), the file is missing or too large.
    """
    base = root.resolve()
    path = (base / relative).resolve()
    if not path.is_relative_to(base):
        raise DataError(f"path {relative!r} leaves the dataset's folder")
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DataError(f"file {relative!r} has {size} bytes, at most {MAX_FILE_BYTES} are read")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"file {relative!r} cannot be read: {error.strerror}") from None
