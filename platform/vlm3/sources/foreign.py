"""Reads files that others wrote: sizes are bounded, and paths named inside them never leave their folder."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from vlm3.errors import DataError

MAX_INDEX_BYTES = 1 << 30
MAX_IMAGE_BYTES = 256 << 20
Number = Annotated[float, Field(strict=False)]
"""A number in an index: `525` is as good as `525.0`."""


def path_inside(folder: Path, name: object) -> Path:
    """The file that an index calls `name`, which must be a relative path that stays inside `folder`.

    Raises:
        DataError: `name` is not a path, is absolute, holds `..`, cannot be followed, or leaves by a symbolic link.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise DataError(f"expected a relative path, found {name!r:.200}")
    root = folder.resolve()
    path = root / name
    try:
        inside = path.resolve().is_relative_to(root)
    except (OSError, RuntimeError, ValueError):  # a loop of links, or a name that no file can have
        raise DataError(f"path {name!r:.200} cannot be followed") from None
    if Path(name).is_absolute() or ".." in Path(name).parts or not inside:
        raise DataError(f"path {name!r:.200} leaves its folder: files must lie inside {folder}")
    return path


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """The bytes of a file.

    Raises:
        DataError: it is missing, not a file, cannot be read, or larger than `most_bytes`.
    """
    try:
        # Reading a pipe or a device might never end.
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise DataError(f"{path!s:.300}: cannot be read: {error.strerror}") from None
    if len(data) > most_bytes:
        raise DataError(f"{path}: {path.stat().st_size} bytes, at most {most_bytes} are read")
    return data


def parse_json(text: bytes | str) -> Any:
    """The plain data of a JSON text; `json` alone would silently keep the last of two values of one key.

    Raises:
        ValueError: it is not JSON, or an object in it has a key twice.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for number, key in enumerate(keys) if key in keys[:number])
        raise ValueError(f"key {twice!r:.100} stands twice in one object")
    return found


def read_json(path: Path) -> Any:
    """The plain data of an index file.

    Raises:
        DataError: as `read_bounded`, it is not JSON, or an object in it has a key twice.
    """
    try:
        return parse_json(read_bounded(path, MAX_INDEX_BYTES))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}") from None


def fingerprint(folder: Path, index: str, names: Iterable[object]) -> str:
    """Hash of an index file and of the sizes of the files it names; the same wherever the folder is copied."""
    digest = hashlib.blake2b((folder / index).read_bytes(), digest_size=16)
    for name in names:
        try:
            size = path_inside(folder, name).stat().st_size
        except (DataError, OSError):
            size = -1
        digest.update(f"{name!r} {size}\n".encode())
    return digest.hexdigest()
