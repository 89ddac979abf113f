"""The connection to MLflow: store set-up, and writes that survive several processes on one SQLite file.

Everything takes explicit URIs and run ids. MLflow's module-level state (active run, tracking URI) is never used: Ray
workers, Tune trials and threads share a process or inherit its environment, and would write into each other's runs.
MLflow is imported where it is used: the import takes seconds, and most processes of a job never need it.
"""

import fcntl
import os
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from vlm3.backoff import Backoff
from vlm3.errors import ConfigError
from vlm3.tracking.config import SERVERS, TrackingConfig, known_store
from vlm3.tracking.moved import ARTIFACTS, follow_move, was_moved
from vlm3.tracking.sqlite_uri import sqlite_file, sqlite_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")
DATABASE = "mlflow.db"
VARIABLE = "MLFLOW_TRACKING_URI"
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""What the pages of MLflow take the experiment for; otherwise they guess from its runs."""
LOCK_PATIENCE_S = 60.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 4.0


def tracking_uri(config: TrackingConfig, runs_dir: Path) -> str:
    """The store's URI: the configured one, else that of the environment, else SQLite in the runs folder.

    The path of an SQLite file is absolute, so that any process finds it.

    Raises:
        ConfigError: MLFLOW_TRACKING_URI names no store that is known here.
    """
    uri = config.uri
    if uri is None and os.environ.get(VARIABLE):
        try:
            uri = known_store(os.environ[VARIABLE])
        except ValueError as error:
            raise ConfigError(f"environment variable {VARIABLE}: {error}") from None
    if uri is None:
        return sqlite_uri(runs_dir.resolve() / DATABASE)
    given, mark, options = uri.partition("?")
    path = sqlite_file(given) if given.startswith("sqlite:") else None
    return uri if path is None else sqlite_uri(path) + mark + options


def shown(uri: str) -> str:
    """A store's URI for messages: without user and password, and with the variable that it comes from, if any."""
    parts = urlsplit(uri)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "@" in parts.netloc else uri
    return f"{plain} (from {VARIABLE})" if uri == os.environ.get(VARIABLE) else plain


def connect(uri: str) -> "MlflowClient":
    """A client whose runs and models both live at `uri`."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def connect_existing(uri: str) -> "MlflowClient":
    """A client of a store that must exist already. If its runs folder was moved, the paths in the store are updated.

    Raises:
        ConfigError: there is no such SQLite file (MLflow would create an empty one), no server answers, or a moved
            folder cannot be written.
    """
    path = sqlite_file(uri)
    if path is not None and not path.is_file():
        raise ConfigError(f"no MLflow store at {path}: train a model first, or name the runs folder or tracking URI")
    if urlsplit(uri).scheme in SERVERS:
        _check_answers(uri)
    client = connect(uri)
    if path is not None and was_moved(path):
        try:
            with store_lock(uri):
                follow_move(path)
        except (OSError, sqlite3.OperationalError) as error:
            raise ConfigError(
                f"{path.parent}: the runs folder was moved here, and its database cannot be told so ({error}): make it"
                " writable, or copy the folder to where you may write"
            ) from error
    return client


def retry_locked(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """`call(...)`, repeated with growing pauses for up to 60 s while another process holds the SQLite file.

    MLflow rolls a refused transaction back, so a repeated call still writes only once.
    """
    from mlflow.exceptions import MlflowException

    backoff = Backoff(FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S, deadline_s=LOCK_PATIENCE_S)
    while True:
        try:
            return call(*args, **kwargs)
        except MlflowException as error:
            pause_s = backoff.pause_s()
            if "is locked" not in str(error) or pause_s is None:
                raise
        time.sleep(pause_s)


def prepare_tracking(config: TrackingConfig, runs_dir: Path) -> str:
    """Create the store's schema and the experiment unless they exist; safe to call from several processes at once.

    Returns:
        The store's URI.

    Raises:
        ConfigError: the server does not answer, the store refuses, or the experiment was deleted.
    """
    uri = tracking_uri(config, runs_dir)
    experiment_id(config, runs_dir, uri)
    return uri


def experiment_id(config: TrackingConfig, runs_dir: Path, uri: str) -> str:
    """Id of the configured experiment, created on first use.

    Raises:
        ConfigError: the server does not answer, the store refuses, or the experiment was deleted.
    """
    from mlflow.exceptions import MlflowException

    if urlsplit(uri).scheme in SERVERS:
        _check_answers(uri)
        artifacts = None  # the server decides
    else:
        runs_dir.mkdir(parents=True, exist_ok=True)
        artifacts = (runs_dir.resolve() / ARTIFACTS).as_uri()
    path = sqlite_file(uri)
    with store_lock(uri):
        client = connect(uri)
        # A database outside the runs folder may belong to another runs folder.
        if path is not None and path.parent.resolve() == runs_dir.resolve() and was_moved(path):
            follow_move(path)
        try:
            experiment = retry_locked(client.get_experiment_by_name, config.experiment)
            if experiment is None:
                try:
                    return str(
                        retry_locked(
                            client.create_experiment,
                            config.experiment,
                            artifact_location=artifacts,
                            tags=EXPERIMENT_TAGS,
                        )
                    )
                except MlflowException as error:
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                    # Another machine created it between the two calls.
                    experiment = retry_locked(client.get_experiment_by_name, config.experiment)
        except MlflowException as error:
            raise ConfigError(f"tracking.uri {shown(uri)}: the MLflow store refused: {error}") from error
    if experiment is None or experiment.lifecycle_stage != "active":
        raise ConfigError(
            f"tracking.experiment {config.experiment!r} at {shown(uri)} was deleted:"
            " restore it with 'mlflow experiments restore', or name another"
        )
    return str(experiment.experiment_id)


@contextmanager
def store_lock(uri: str) -> Iterator[None]:
    """Hold a lock file beside a SQLite store, so that one process at a time reads and then writes.

    Does nothing for other stores. Needed because MLflow's own migrations race. Also turns on the write-ahead log, which
    the file keeps, so that readers go on while another process writes. Must not be nested: it would wait for itself.
    """
    path = sqlite_file(uri)
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with closing(sqlite3.connect(path, timeout=LOCK_PATIENCE_S)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        yield


def _check_answers(uri: str) -> None:
    """Fail within seconds when no server is there; MLflow's own client would retry for minutes."""
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=10).close()
    except urllib.error.HTTPError:
        return  # a server answers; MLflow's client reports what is wrong
    except OSError as error:
        raise ConfigError(
            f"tracking.uri {shown(uri)}: no MLflow server answers ({error}); start one with 'mlflow server', or leave"
            f" tracking.uri and {VARIABLE} out to use SQLite"
        ) from error
