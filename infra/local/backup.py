"""Backup of all that MLflow keeps: its database, its artifacts, and the password of its user."""

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local import postgres, s3
from infra.local.credentials import FOLDER, Credentials
from infra.local.part import HOST, inherited
from infra.local.settings import Settings
from infra.local.state import only_one
from infra.local.supervisor import started
from vlm3 import terminal
from vlm3.errors import ConfigError, DataError

DUMP = "mlflow.dump"
ARTIFACTS = "artifacts"
KEPT_SECRETS = ("mlflow_password", "mlflow_session_key")
"""The database holds a hash of the first."""
UNFINISHED = ".rclone_temp_put_*"
"""Objects that are being written."""


def save(settings: Settings, target: Path) -> None:
    """Copy everything of a stack that runs to a new folder; runs may go on meanwhile.

    The database is copied first: all artifacts that it knows of are there when they are copied.

    Raises:
        ConfigError: the folder exists.
        DataError: the database cannot be copied.
    """
    if target.exists():
        raise ConfigError(f"{target} exists: name a new folder for the backup")
    with _new_folder(target, mode=0o700) as new:
        _run(settings, "pg_dump", "--format=custom", f"--file={new / DUMP}")
        shutil.copytree(settings.folder / "s3" / s3.BUCKET, new / ARTIFACTS, ignore=shutil.ignore_patterns(UNFINISHED))
        for name in KEPT_SECRETS:
            shutil.copy(settings.folder / FOLDER / name, new / name)
        new.rename(target)
    terminal.say(f"backup: {target}; it holds the password of MLflow's user")


def restore(settings: Settings, source: Path) -> None:
    """Make the folder of a stack from a backup; start it with `up`.

    Raises:
        ConfigError: there is a stack in the folder already, or the backup is none.
        DataError: the database cannot be restored.
    """
    missing = [name for name in (DUMP, ARTIFACTS, *KEPT_SECRETS) if not (source / name).exists()]
    if missing:
        raise ConfigError(f"{source} is no backup of a stack: it has no {missing[0]}")
    if settings.folder.exists() and any(settings.folder.iterdir()):
        raise ConfigError(f"{settings.folder} is not empty: move it away, or set VLM3_STACK to a new folder")
    # The account of PostgreSQL has to enter it: whatever the umask allows.
    with _new_folder(settings.folder, mode=0o755) as folder, only_one(folder):
        new = Settings(folder, settings.ports, settings.cpus)
        Credentials.of(new.folder)
        for name in KEPT_SECRETS:
            shutil.copy(source / name, new.folder / FOLDER / name)
        credentials = Credentials.of(new.folder)
        postgres.prepare(new, credentials)
        s3.prepare(new)
        shutil.copytree(source / ARTIFACTS, new.folder / "s3" / s3.BUCKET, dirs_exist_ok=True)
        with started([postgres.part(new, credentials)], terminal.say):
            _run(new, "pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", str(source / DUMP))
        if settings.folder.exists():
            settings.folder.rmdir()
        folder.rename(settings.folder)
    terminal.say(f"restored to {settings.folder}: start it with 'make stack'")


@contextmanager
def _new_folder(target: Path, mode: int) -> Iterator[Path]:
    """A folder of a name that nobody has, beside `target`, to be renamed to it; removed if that was not done."""
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    new.mkdir(mode=mode)
    try:
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _run(settings: Settings, name: str, *words: str) -> None:
    """Run a client of PostgreSQL on the database."""
    where = (f"--host={HOST}", f"--port={settings.ports.postgres}", f"--username={postgres.USER}", "--no-password")
    done = subprocess.run(
        [postgres.command(name), *where, f"--dbname={postgres.DATABASE}", *words],
        env=inherited("PG") | postgres.login(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DataError(f"{name} ended with code {done.returncode}: {last}")
