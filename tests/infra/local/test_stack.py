"""The whole stack: jobs log to it, it listens on loopback only, shows no secret, and its data survive."""

import json
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import psutil
import psycopg
import pytest

from infra.local import s3
from infra.local.credentials import Credentials
from infra.local.part import http_status
from infra.local.settings import ROOT, Settings
from tests.infra.local.stacks import COMMANDS, Stack, a_stack
from tests.jobs.test_tune_job import RECIPE, SEARCH
from tests.pipelines.test_cluster_listeners import listeners, strangers
from tests.pipelines.test_cluster_submit import SMALL
from vlm3.config import dump_yaml

pytestmark = [pytest.mark.long, pytest.mark.infra]


@dataclass
class Seen:
    """What could be seen of a stack's processes while jobs ran."""

    listeners: set[tuple[str, str]] = field(default_factory=set)
    command_lines: set[str] = field(default_factory=set)

    def look(self, stack: Stack) -> None:
        self.listeners |= listeners(psutil.Process(stack.state.keeper))
        for process in stack.family():
            with suppress(psutil.NoSuchProcess):
                self.command_lines.add(" ".join(process.cmdline()))


@dataclass(frozen=True)
class Used:
    """A stack that jobs were submitted to."""

    stack: Stack
    up_s: float
    seen: Seen

    def settings(self) -> Settings:
        return Settings(self.stack.folder, self.stack.ports, self.stack.state.cpus)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """Answer of the database."""
        credentials = Credentials.of(self.stack.folder)
        where = {"host": "127.0.0.1", "port": self.stack.ports.postgres, "user": "mlflow", "dbname": "mlflow"}
        with psycopg.connect(**where, password=credentials.postgres_password) as connection:
            return connection.execute(query).fetchall()

    def objects(self) -> list[str]:
        """Keys in MLflow's bucket."""
        variables = s3.client(self.settings(), Credentials.of(self.stack.folder))
        client = boto3.client(
            "s3",
            endpoint_url=variables["AWS_ENDPOINT_URL_S3"],
            aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
            region_name=s3.REGION,
        )
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=s3.BUCKET)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def prometheus(self, path: str, **asked: str) -> list[dict[str, object]]:
        url = f"http://127.0.0.1:{self.stack.ports.prometheus}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            data = json.load(answer)["data"]
        return data["result"] if isinstance(data, dict) else data

    def mlflow(self, script: str) -> str:
        """What a script prints that uses MLflow as a user does whose shell has read the file for clients."""
        head = "from mlflow import MlflowClient, artifacts; client = MlflowClient()\n"
        done = subprocess.run(
            [sys.executable, "-c", head + script], env=self.stack.client(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip()


def submit(stack: Stack, *command: str | Path) -> None:
    """`ray job submit`, with nothing but what the file for clients says."""
    ray = Path(sys.executable).parent / "ray"
    done = subprocess.run(
        [ray, "job", "submit", "--", "python", *command],
        cwd=ROOT,
        env=stack.client(),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@contextmanager
def watched(stack: Stack) -> Iterator[Seen]:
    """Look at the processes again and again while the block runs."""
    seen, ended = Seen(), threading.Event()

    def look() -> None:
        # A look takes a core for a while.
        while not ended.wait(3.0):
            seen.look(stack)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Used]:
    """After a training of two steps and a search of one trial."""
    recipes = tmp_path_factory.mktemp("recipes")
    (recipes / "tiny.yaml").write_text(dump_yaml(RECIPE))
    (recipes / "search.yaml").write_text(dump_yaml(SEARCH))
    with a_stack() as stack:
        up_s = stack.up()
        with watched(stack) as seen:
            settings = [word for setting in SMALL for word in ("--set", setting)]
            submit(stack, "jobs/train.py", "--name", "submitted", "--continue", *settings)
            submit(stack, "jobs/tune.py", recipes / "search.yaml", "--name", "searched", "--set", "trials=1")
        yield Used(stack, up_s, seen)


def test_all_parts_are_healthy_when_it_is_up(used: Used) -> None:
    # On two quiet cores less than a minute; beside other work any number of seconds.
    print(f"up after {used.up_s:.0f} s")
    done = used.stack.does("status")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("healthy") == len(COMMANDS)
    assert all(name in done.stdout for name in COMMANDS)


def test_the_runs_of_jobs_are_rows_in_the_database(used: Used) -> None:
    kinds = used.rows("SELECT value, count(*) FROM tags WHERE key = 'vlm3.kind' GROUP BY value ORDER BY value")
    assert kinds == [("search", 1), ("train", 1), ("trial", 1)]
    assert used.rows("SELECT DISTINCT status FROM runs") == [("FINISHED",)]
    (written,) = used.rows("SELECT count(*) FROM metrics")[0]
    assert isinstance(written, int) and written > 10
    assert not list(Path(used.stack.environment["VLM3_RUNS"]).glob("mlflow.db*"))


def test_artifacts_are_objects_in_the_bucket(used: Used) -> None:
    names = {key.rsplit("/", 1)[-1] for key in used.objects()}
    assert {"model.safetensors", "mixture.yaml", "trials.csv"} <= names


def test_the_model_is_registered_and_can_be_downloaded(used: Used, tmp_path: Path) -> None:
    script = f"""
version = client.get_model_version_by_alias("vlm3-depth", "champion")
path = artifacts.download_artifacts(version.source, dst_path={str(tmp_path)!r})
print(version.version, version.source.split(":")[0], path)"""
    version, scheme, path = used.mlflow(script).split()
    assert (version, scheme) == ("1", "mlflow-artifacts")
    assert (Path(path) / "model.safetensors").stat().st_size > 10_000


def test_metrics_of_ray_are_series_in_prometheus(used: Used) -> None:
    deadline = time.monotonic() + 60
    while True:
        targets = used.prometheus("query", query='up{job="ray"}')
        # The node, the dashboard and the autoscaler.
        if len(targets) == 3 and all(target["value"][1] == "1" for target in targets):  # type: ignore[index]
            break
        assert time.monotonic() < deadline, targets
        time.sleep(1)
    names = {str(entry["__name__"]) for entry in used.prometheus("series", **{"match[]": '{job="ray"}'})}
    assert {"ray_tasks", "ray_running_jobs"} <= names
    assert [name for name in names if name.startswith("ray_vlm3_")], sorted(names)


def test_everything_listens_on_loopback(used: Used) -> None:
    names = {name for name, _ in used.seen.listeners}
    assert {"postgres", "rclone", "prometheus", "raylet", "gcs_server"} <= names
    assert strangers(used.seen.listeners) == set()


def test_no_secret_is_in_arguments_or_logs(used: Used) -> None:
    secrets = used.stack.secrets()
    assert len(used.seen.command_lines) > 15
    assert [line for line in used.seen.command_lines if any(secret in line for secret in secrets)] == []
    logs = list(used.stack.folder.joinpath("log").iterdir())
    logs += [path for path in Path(used.stack.state.ray_folder).rglob("*") if path.is_file()]
    logs += Path(used.stack.environment["VLM3_RUNS"]).rglob("*.log")
    assert len(logs) > 20
    leaks = [path for path in logs if any(secret.encode() in path.read_bytes() for secret in secrets)]
    assert leaks == []


def test_strangers_are_refused(used: Used) -> None:
    ports = used.stack.ports
    assert http_status(f"http://127.0.0.1:{ports.mlflow}/api/2.0/mlflow/experiments/search?max_results=1") == 401
    assert http_status(f"http://127.0.0.1:{ports.ray_dashboard}/api/jobs/") == 401
    assert http_status(f"http://127.0.0.1:{ports.s3}/{s3.BUCKET}") in (400, 403)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(host="127.0.0.1", port=ports.postgres, user="mlflow", dbname="mlflow", password="guess")
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba.conf entry"):
        psycopg.connect(host="127.0.0.1", port=ports.postgres, user="postgres", dbname="postgres")


def test_a_second_start_is_refused_in_one_line(used: Used) -> None:
    done = used.stack.does("up")
    assert done.returncode == 2
    assert "runs already: make stack-status shows it" in done.stderr and "Traceback" not in done.stderr


def test_a_backup_is_restored_to_a_fresh_stack(used: Used, tmp_path: Path) -> None:
    before = (used.rows("SELECT run_uuid FROM runs ORDER BY 1"), sorted(used.objects()))
    done = used.stack.does("backup", tmp_path / "backup")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o700
    again = used.stack.does("backup", tmp_path / "backup")
    assert again.returncode == 2 and "exists: name a new folder" in again.stderr

    with a_stack() as fresh:
        done = fresh.does("restore", tmp_path / "backup")
        assert done.returncode == 0, done.stderr
        twice = fresh.does("restore", tmp_path / "backup")
        assert twice.returncode == 2 and "is not empty" in twice.stderr
        fresh.up()
        restored = Used(fresh, 0, Seen())
        assert (restored.rows("SELECT run_uuid FROM runs ORDER BY 1"), sorted(restored.objects())) == before
        test_the_model_is_registered_and_can_be_downloaded(restored, tmp_path)
        assert set(restored.stack.secrets()) & set(used.stack.secrets()) == {
            Credentials.of(fresh.folder).mlflow_password,
            Credentials.of(fresh.folder).mlflow_session_key,
        }


def test_down_leaves_the_data_and_nothing_else(used: Used, tmp_path: Path) -> None:
    before, family = used.rows("SELECT run_uuid FROM runs ORDER BY 1"), used.stack.family()
    ray_folder = Path(used.stack.state.ray_folder)
    assert len(family) > 10 and ray_folder.is_dir()
    done = used.stack.does("down")
    assert done.returncode == 0, done.stderr
    # `down` returns when the last process lets go of the lock: it still has to exit.
    used.stack.assert_nothing_left(family, within_s=10)
    assert not ray_folder.exists()
    assert used.stack.does("down").returncode == 0, "nothing to do is no error"

    used.stack.up()
    assert used.rows("SELECT run_uuid FROM runs ORDER BY 1") == before
    test_the_model_is_registered_and_can_be_downloaded(used, tmp_path)
