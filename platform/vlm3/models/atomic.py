"""Directories that appear whole or not at all."""

import os
from pathlib import Path


def publish_directory(finished: Path, target: Path) -> None:
    """Rename `finished` to `target`, on the same file system.

    A `target` that another process has published meanwhile is kept.
    """
    # Temporary folders and safetensors files are private; what is published follows the user's umask.
    umask = os.umask(0)
    os.umask(umask)
    finished.chmod(0o777 & ~umask)
    for path in finished.rglob("*"):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)
    try:
        finished.rename(target)
    except OSError:
        if not target.is_dir():
            raise
