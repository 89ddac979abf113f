"""The whole stack: jobs log to it, it listens on loopback only, shows no secret, and its data survive."""

import json
import time
import urllib.parse
import urllib.request
from pathlib import Path

import psycopg
import pytest

from infra.local import s3
from infra.local.credentials import Credentials
from infra.local.part import http_status
from tests.infra.conftest import Used
from tests.infra.local.stacks import COMMANDS, Stack, a_stack
from tests.pipelines.test_cluster_listeners import strangers

pytestmark = [pytest.mark.long, pytest.mark.infra]


def test_all_parts_are_healthy_when_it_is_up(used: Used) -> None:
    # On two quiet cores less than a minute; beside other work any number of seconds.
    print(f"up after {used.up_s:.0f} s")
    done = used.stack.does("status")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("healthy") == len(COMMANDS)
    assert all(name in done.stdout for name in COMMANDS)


def test_the_runs_of_jobs_are_rows_in_the_database(used: Used) -> None:
    kinds = used.stack.rows("SELECT value, count(*) FROM tags WHERE key = 'vlm3.kind' GROUP BY value ORDER BY value")
    assert kinds == [("search", 1), ("train", 1), ("trial", 1)]
    assert used.stack.rows("SELECT DISTINCT status FROM runs") == [("FINISHED",)]
    (written,) = used.stack.rows("SELECT count(*) FROM metrics")[0]
    assert isinstance(written, int) and written > 10
    assert not list(Path(used.stack.environment["VLM3_RUNS"]).glob("mlflow.db*"))


def test_artifacts_are_objects_in_the_bucket(used: Used) -> None:
    names = {key.rsplit("/", 1)[-1] for key in used.stack.objects()}
    assert {"model.safetensors", "mixture.yaml", "trials.csv"} <= names


def downloaded(stack: Stack, folder: Path) -> list[str]:
    """Version of the registered model, the scheme of its address, and where its files are now."""
    script = f"""
version = client.get_model_version_by_alias("vlm3-depth", "champion")
path = artifacts.download_artifacts(version.source, dst_path={str(folder)!r})
print(version.version, version.source.split(":")[0], path)"""
    return stack.mlflow(script).split()


def test_the_model_is_registered_and_can_be_downloaded(used: Used, tmp_path: Path) -> None:
    version, scheme, path = downloaded(used.stack, tmp_path)
    assert (version, scheme) == ("1", "mlflow-artifacts")
    assert (Path(path) / "model.safetensors").stat().st_size > 10_000


def asked(stack: Stack, path: str, **parameters: str) -> list[dict[str, object]]:
    """Answer of the stack's Prometheus."""
    url = f"http://127.0.0.1:{stack.ports.prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        data = json.load(answer)["data"]
    return data["result"] if isinstance(data, dict) else data


def test_metrics_of_ray_are_series_in_prometheus(used: Used) -> None:
    deadline = time.monotonic() + 60
    while True:
        targets = asked(used.stack, "query", query='up{job="ray"}')
        # The node, the dashboard and the autoscaler.
        if len(targets) == 3 and all(target["value"][1] == "1" for target in targets):  # type: ignore[index]
            break
        assert time.monotonic() < deadline, targets
        time.sleep(1)
    names = {str(entry["__name__"]) for entry in asked(used.stack, "series", **{"match[]": '{job="ray"}'})}
    assert {"ray_tasks", "ray_running_jobs"} <= names
    assert [name for name in names if name.startswith("ray_vlm3_")], sorted(names)


def test_everything_listens_on_loopback(used: Used) -> None:
    names = {name for name, _ in used.seen.listeners}
    assert {"postgres", "rclone", "prometheus", "raylet", "gcs_server"} <= names
    assert strangers(used.seen.listeners) == set()


def test_no_secret_is_in_arguments_or_logs(used: Used) -> None:
    secrets = used.stack.secrets()
    assert len(used.seen.command_lines) > 15
    for job in ("jobs/train.py", "jobs/tune.py"):
        assert any(job in line for line in used.seen.command_lines), f"nobody looked while {job} ran"
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
    before = (used.stack.rows("SELECT run_uuid FROM runs ORDER BY 1"), sorted(used.stack.objects()))
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
        assert (fresh.rows("SELECT run_uuid FROM runs ORDER BY 1"), sorted(fresh.objects())) == before
        assert Path(downloaded(fresh, tmp_path)[-1]).is_dir()
        assert set(fresh.secrets()) & set(used.stack.secrets()) == {
            Credentials.of(fresh.folder).mlflow_password,
            Credentials.of(fresh.folder).mlflow_session_key,
        }
