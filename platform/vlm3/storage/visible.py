"""Which files of a folder are data: systems and editors leave files of their own beside them.

Names that begin with a dot are not data: macOS keeps `._NAME` beside each file on foreign disks and `.DS_Store` in each
folder, notebooks keep `.ipynb_checkpoints`, and files that are still being written have such names too.
"""

from collections.abc import Iterable
from pathlib import Path, PurePath


def is_hidden(path: PurePath) -> bool:
    """Whether a relative path goes through a name that begins with a dot."""
    return any(part.startswith(".") for part in path.parts)


def visible(paths: Iterable[Path]) -> list[Path]:
    """The entries of a folder that are data, sorted."""
    return sorted(path for path in paths if not path.name.startswith("."))


def files_below(folder: Path) -> list[Path]:
    """The data files in a folder and in all folders below it, sorted; empty where there is no such folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not is_hidden(path.relative_to(folder)))
