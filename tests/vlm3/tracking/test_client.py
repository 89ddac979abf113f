"""The store is created once however many processes start, and survives them all writing."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from vlm3 import backoff
from vlm3.errors import ConfigError
from vlm3.tracking import client as tracking_client
from vlm3.tracking.client import connect, prepare_tracking, retry_locked, shown, tracking_uri
from vlm3.tracking.config import TrackingConfig
from vlm3.tracking.runs import start_run
from vlm3.tracking.sqlite_uri import sqlite_file, sqlite_uri

WRITER = """
import sys
from pathlib import Path
from vlm3.tracking.config import TrackingConfig
from vlm3.tracking.runs import start_run

with start_run(TrackingConfig(), Path(sys.argv[1]), sys.argv[2], "trial") as run:
    run.params({"writer": sys.argv[2]})
    for step in range(int(sys.argv[3])):
        run.metrics({"loss": 1.0 / (step + 1), "rate": 2.0}, step)
    run.text("note.txt", sys.argv[2])
"""


class Clock:
    """Time that passes when someone sleeps; after some pauses, something happens."""

    def __init__(self, after: int = 0, happens: Callable[[], object] = lambda: None) -> None:
        self.pauses_s: list[float] = []
        self.after, self.happens = after, happens

    def monotonic(self) -> float:
        """Now."""
        return sum(self.pauses_s)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.pauses_s.append(seconds)
        if len(self.pauses_s) == self.after:
            self.happens()

    def tells_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """To what waits for a lock."""
        for module in (backoff, tracking_client):
            monkeypatch.setattr(module, "time", self)


def test_uri_is_absolute_so_that_other_processes_find_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert tracking_uri(TrackingConfig(), Path("runs")) == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert tracking_uri(TrackingConfig(uri="http://127.0.0.1:1"), Path("runs")) == "http://127.0.0.1:1"


def test_the_environment_names_the_store_of_recipes_that_name_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = sqlite_uri(tmp_path / "shared" / "all.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    (tmp_path / "shared").mkdir()
    assert prepare_tracking(TrackingConfig(), tmp_path / "runs") == store
    assert [e.name for e in connect(store).search_experiments() if e.name == "vlm3"]
    assert not (tmp_path / "runs" / "mlflow.db").exists()
    assert tracking_uri(TrackingConfig(uri="http://127.0.0.1:1"), tmp_path) == "http://127.0.0.1:1"
    for wrong in ("mlruns", "file:///mlruns", "sqlite:///near.db", "http://me:secret@127.0.0.1:1"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", wrong)
        with pytest.raises(ConfigError, match=r"variable MLFLOW_TRACKING_URI: expected (a|no)") as refused:
            tracking_uri(TrackingConfig(), tmp_path)
        assert "secret" not in str(refused.value)


def test_messages_name_the_store_and_where_it_comes_from_without_the_password(monkeypatch: pytest.MonkeyPatch):
    store = "postgresql://me:secret@db:5432/mlflow?sslmode=require"
    assert shown(store) == "postgresql://db:5432/mlflow?sslmode=require"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert shown(store) == "postgresql://db:5432/mlflow?sslmode=require (from MLFLOW_TRACKING_URI)"
    assert shown("sqlite:////runs/a@b.db") == "sqlite:////runs/a@b.db"


@pytest.mark.parametrize(
    "name", ["my runs", "run#1", "what?", "a%20b", "50%", "a+b ü", "a;b", "my runs #1 ü 50%25?x=/y"]
)
def test_a_runs_folder_of_any_name_has_all_of_the_store_and_its_neighbours_have_nothing(tmp_path: Path, name: str):
    runs_dir = tmp_path / name
    with start_run(TrackingConfig(), runs_dir, "one", "evaluation") as run:
        run.text("note.txt", "hello")
    top = name.split("/", maxsplit=1)[0]
    assert [entry.name for entry in tmp_path.iterdir()] == [top]
    assert {"mlflow.db", "mlflow.db.lock", "mlartifacts"} <= {entry.name for entry in runs_dir.iterdir()}
    with closing(sqlite3.connect(runs_dir / "mlflow.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    (note,) = (runs_dir / "mlartifacts").rglob("note.txt")
    assert note.read_text() == "hello"
    client = connect(tracking_uri(TrackingConfig(), runs_dir))
    assert [entry.path for entry in client.list_artifacts(run.run_id)] == ["note.txt"]
    # As a user copies it from a browser or a message: the same file, and no folder of the encoded name beside it.
    copied = TrackingConfig(uri=f"sqlite:///{quote(str(runs_dir / 'mlflow.db'))}?timeout=5")
    assert sqlite_file(prepare_tracking(copied, runs_dir)) == runs_dir / "mlflow.db"
    assert [entry.name for entry in tmp_path.iterdir()] == [top]


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1).filter(
        lambda name: name not in ("..", ".")
    )
)
def test_a_sqlite_uri_comes_back_as_the_path(name: str):
    path = Path("/tmp") / name / "mlflow.db"
    assert sqlite_file(sqlite_uri(path)) == path


def test_preparing_twice_gives_one_experiment_with_artifacts_in_the_runs_folder(tmp_path: Path):
    config = TrackingConfig(experiment="rooms")
    uri = prepare_tracking(config, tmp_path / "runs")
    assert prepare_tracking(config, tmp_path / "runs") == uri
    experiments = [e for e in connect(uri).search_experiments() if e.name == "rooms"]
    assert [e.artifact_location for e in experiments] == [(tmp_path / "runs" / "mlartifacts").as_uri()]
    assert experiments[0].tags["mlflow.experimentKind"] == "custom_model_development"


def test_four_processes_create_and_fill_one_fresh_store(tmp_path: Path):
    steps = 40
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), f"writer-{n}", str(steps)], stderr=subprocess.PIPE, text=True
        )
        for n in range(4)
    ]
    messages = [writer.communicate(timeout=180)[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4, messages
    client = connect(tracking_uri(TrackingConfig(), tmp_path))
    experiment = client.get_experiment_by_name("vlm3")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.params["writer"] for run in runs) == [f"writer-{n}" for n in range(4)]
    for run in runs:
        assert run.info.status == "FINISHED"
        history = client.get_metric_history(run.info.run_id, "loss")
        assert sorted((m.step, m.value) for m in history) == [(s, 1.0 / (s + 1)) for s in range(steps)]


def test_a_write_waits_for_another_writer_to_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """MLflow itself waits 20 s for a lock; here the wait is cut to nothing so that only our retry can succeed."""
    uri = prepare_tracking(TrackingConfig(), tmp_path)
    client = connect(uri)
    run_id = client.create_run("0").info.run_id
    _no_busy_timeout(monkeypatch)
    holder = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(MlflowException, match="database is locked"):
        client.log_metric(run_id, "a", 1.0)
    clock = Clock(after=3, happens=lambda: holder.execute("COMMIT"))
    clock.tells_time(monkeypatch)
    retry_locked(client.log_metric, run_id, "a", 2.0)
    assert len(clock.pauses_s) == 3
    assert [m.value for m in client.get_metric_history(run_id, "a")] == [2.0]


def test_a_lock_that_is_never_released_ends_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clock, calls = Clock(), []
    clock.tells_time(monkeypatch)

    def refused() -> None:
        calls.append(1)
        raise MlflowException("(sqlite3.OperationalError) database is locked")

    with pytest.raises(MlflowException, match="locked"):
        retry_locked(refused)
    assert len(calls) == len(clock.pauses_s) + 1 > 10
    assert 55 < sum(clock.pauses_s) <= tracking_client.LOCK_PATIENCE_S + 1, "a minute, but for the jitter of the last"


def test_other_errors_are_not_repeated():
    calls = []

    def refused() -> None:
        calls.append(1)
        raise MlflowException("no such run")

    with pytest.raises(MlflowException, match="no such run"):
        retry_locked(refused)
    assert calls == [1]


def test_a_silent_server_is_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tracking_client, "connect", lambda uri: pytest.fail("MLflow would try for minutes"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(
        ConfigError, match=r"no MLflow server answers .*leave tracking\.uri and MLFLOW_TRACKING_URI out"
    ):
        prepare_tracking(TrackingConfig(uri=uri), tmp_path)


def test_a_deleted_experiment_is_not_silently_replaced(tmp_path: Path):
    uri = prepare_tracking(TrackingConfig(), tmp_path)
    client = connect(uri)
    client.delete_experiment(client.get_experiment_by_name("vlm3").experiment_id)
    with pytest.raises(ConfigError, match=r"'vlm3' .* was deleted"):
        prepare_tracking(TrackingConfig(), tmp_path)


def test_telemetry_is_off_the_log_is_quiet_and_no_global_run_or_uri_is_touched(tmp_path: Path):
    code = (
        "import json, sys; from pathlib import Path\n"
        "from vlm3.tracking.config import TrackingConfig; from vlm3.tracking.runs import start_run\n"
        "import mlflow; from mlflow.telemetry.client import get_telemetry_client\n"
        "before = mlflow.get_tracking_uri()\n"
        "with start_run(TrackingConfig(), Path(sys.argv[1]), 'x', 'train') as run:\n"
        "    run.metrics({'a': 1.0}); active = mlflow.active_run()\n"
        "print(json.dumps([before == mlflow.get_tracking_uri(), active, get_telemetry_client()]))\n"
    )
    hidden = ("CI", "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_LOGGING_LEVEL", "PYTEST_CURRENT_TEST", "DO_NOT_TRACK")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, env=environment
    )
    assert json.loads(done.stdout) == [True, None, None]
    assert done.stderr == ""


def _no_busy_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.orm import Session

    execute = Session.execute

    def without_wait(self: Session, statement, *args, **kwargs):  # type: ignore[no-untyped-def]
        if "busy_timeout" in str(statement):
            from sqlalchemy import text

            statement = text("PRAGMA busy_timeout = 0;")
        return execute(self, statement, *args, **kwargs)

    monkeypatch.setattr(Session, "execute", without_wait)


def test_client_talks_to_one_store_for_runs_and_models(tmp_path: Path):
    client = connect(f"sqlite:///{tmp_path}/a.db")
    assert isinstance(client, MlflowClient)
    assert client._registry_uri == client.tracking_uri == f"sqlite:///{tmp_path}/a.db"
