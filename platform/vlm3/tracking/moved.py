"""Updates the absolute artifact paths in the database of a runs folder that was moved or copied.

MLflow stores them once, as `file:///FOLDER/mlartifacts/…`, and would read and write at the folder's old place.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from vlm3.log import get_logger

ARTIFACTS = "mlartifacts"
"""Name of the artifacts folder beside the database."""
PATHS = (
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Columns of MLflow's schema that lie below an experiment's `artifact_location`."""

logger = get_logger(__name__)


def was_moved(database: Path) -> bool:
    """Whether the database names another place for artifacts that are in this folder."""
    try:
        with closing(_open(database)) as connection:
            return any(True for _ in _elsewhere(connection, database.parent))
    except sqlite3.DatabaseError:
        return False  # MLflow reports what is wrong with it


def follow_move(database: Path) -> None:
    """Make the database name the artifacts beside it. The caller must hold the store's lock.

    The path of an artifact that exists at the old place and not here is kept: another runs folder may record into this
    database.

    Raises:
        sqlite3.OperationalError: the database cannot be written.
    """
    here = (database.parent.resolve() / ARTIFACTS).as_uri()
    with closing(_open(database)) as connection, connection:
        connection.execute("BEGIN IMMEDIATE")
        for experiment, there in list(_elsewhere(connection, database.parent)):
            connection.execute(
                "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (here, experiment)
            )
            for table, column in PATHS:
                _rewrite(connection, table, column, there, here)
            logger.info("the runs folder was at %s: its database names this one now", _path(there).parent)


def _elsewhere(connection: sqlite3.Connection, folder: Path) -> Iterator[tuple[int, str]]:
    """(experiment, artifact location) of the experiments that name another folder but belong to this one."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone():
        return  # no store yet
    experiments = connection.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall()
    for experiment, location in experiments:
        there = _path(location or "")
        # MLflow's own default experiment lies in no runs folder.
        if there.name != ARTIFACTS or there.parent.resolve() == folder.resolve():
            continue
        runs = connection.execute("SELECT run_uuid FROM runs WHERE experiment_id = ?", (experiment,)).fetchall()
        if not runs or not all(_stays(there / run, folder / ARTIFACTS / run) for (run,) in runs):
            yield experiment, location


def _rewrite(connection: sqlite3.Connection, table: str, column: str, there: str, here: str) -> None:
    rows = connection.execute(f"SELECT rowid, {column} FROM {table} WHERE {column} LIKE 'file:%'").fetchall()
    for row, uri in rows:
        below = uri.removeprefix(f"{there}/")
        new = f"{here}/{below}"
        if below != uri and not _stays(_path(uri), _path(new)):
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (new, row))


def _stays(old: Path, new: Path) -> bool:
    return old.exists() and not new.exists()


def _path(uri: str) -> Path:
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else Path()


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(database, timeout=60.0)
