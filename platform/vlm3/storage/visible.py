"""What of a folder is data: systems and editors leave files of their own beside it.

Names that begin with a dot are none: macOS keeps `._NAME` beside each file on foreign disks and `.DS_Store` in each
folder, notebooks keep `.ipynb_checkpoints`, and files that are being written have such names too.
"""

from collections.abc import Iterable
from pathlib import Path, PurePath


def is_hidden(path: PurePath) -> bool:
    """Whether a relative path goes through a name that begins with a dot."""
    return any(part.startswith(".") for part in path.parts)


def visible(paths: Iterable[Path]) -> list[Path]:
    """Those of a folder's entries that are data, sorted."""
    return sorted(path for path in paths if not path.name.startswith("."))


def files_below(folder: Path) -> list[Path]:
    """The files of a folder and of the folders in it that are data, sorted; none where there is no such folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not is_hidden(path.relative_to(folder)))
