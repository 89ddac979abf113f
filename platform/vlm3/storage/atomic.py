"""Local files and folders that appear whole or not at all, even to other processes and after a crash."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


def replace_file(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file, replacing one that is there; a missing folder is created.

    Args:
        path: path of the file.
        data: whole content of the file.
        durable: after this call the file also survives a loss of power, which costs two flushes of the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _written_beside(path, data, durable) as temporary:
        temporary.replace(path)
    if durable:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def create_file(path: Path, data: bytes) -> None:
    """Write a new file.

    Raises:
        FileExistsError: there is a file already; it stays as it is.
    """
    with _written_beside(path, data, durable=True) as temporary:
        # Unlike a rename, a link does not replace what is there.
        os.link(temporary, path)


@contextmanager
def new_directory(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """An empty folder to fill, which becomes `path` at the end of the block and is removed if the block fails.

    Args:
        path: final place of the folder; a missing parent folder is created.
        replace: remove what is at `path`; otherwise it is kept, see `publish_directory`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent, ignore_cleanup_errors=True) as beside:
        finished = Path(beside, "new")
        finished.mkdir()
        yield finished
        if replace and path.exists():
            path.rename(Path(beside, "old"))
        publish_directory(finished, path)


def publish_directory(finished: Path, path: Path) -> None:
    """Rename the folder `finished` to `path`, on the same file system.

    A folder that another process has already published at `path` is kept.
    """
    # Temporary folders and safetensors files are private; what is published follows the user's umask.
    umask = os.umask(0)
    os.umask(umask)
    finished.chmod(0o777 & ~umask)
    for inner in finished.rglob("*"):
        inner.chmod((0o777 if inner.is_dir() else 0o666) & ~umask)
    try:
        finished.rename(path)
    except OSError:
        if not path.is_dir():
            raise


@contextmanager
def _written_beside(path: Path, data: bytes, durable: bool) -> Iterator[Path]:
    """A temporary file with `data` in the folder of `path`, removed after the block."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
