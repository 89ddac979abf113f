"""Backup of all that MLflow keeps: its database, its artifacts, and the password of its user."""

import shutil
import subprocess
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
    new = target.with_name(f"{target.name}.part")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700, parents=True)
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
    new = Settings(settings.folder.with_name(f"{settings.folder.name}.restored"), settings.ports, settings.cpus)
    shutil.rmtree(new.folder, ignore_errors=True)
    with only_one(new.folder):
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
        new.folder.rename(settings.folder)
    terminal.say(f"restored to {settings.folder}: start it with 'make stack'")


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
