"""A run records what was asked, and ends the way the work ended."""

import json
from pathlib import Path

import matplotlib.image
import pytest
from matplotlib.figure import Figure

from vlm3.config import load_yaml
from vlm3.errors import ConfigError
from vlm3.tracking.client import connect, prepare_tracking, tracking_uri
from vlm3.tracking.config import TrackingConfig
from vlm3.tracking.runs import attach_run, start_run

CONFIG = TrackingConfig()


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    prepare_tracking(CONFIG, folder)
    return folder


def fetch(runs_dir: Path, run_id: str):
    return connect(tracking_uri(CONFIG, runs_dir)).get_run(run_id)


def artifact(runs_dir: Path, run_id: str, name: str) -> Path:
    return runs_dir / "mlartifacts" / run_id / "artifacts" / name


def test_a_run_that_returns_is_finished(runs_dir: Path):
    with start_run(CONFIG, runs_dir, "good", "train") as run:
        assert fetch(runs_dir, run.run_id).info.status == "RUNNING"
    ended = fetch(runs_dir, run.run_id)
    assert (ended.info.status, ended.info.run_name) == ("FINISHED", "good")
    assert ended.data.tags["vlm3.kind"] == "train"


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("loss is NaN"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(2), "FAILED")],
)
def test_a_run_that_raises_says_so_and_why(runs_dir: Path, error: BaseException, status: str):
    with pytest.raises(type(error)), start_run(CONFIG, runs_dir, "bad", "evaluation") as run:
        raise error
    ended = fetch(runs_dir, run.run_id)
    assert ended.info.status == status
    assert ended.data.tags["vlm3.error"].startswith(type(error).__name__)


def test_nested_parameters_are_flat_in_mlflow_and_whole_in_the_artifact(runs_dir: Path):
    data = {
        "name": "x",
        "train": {"steps": 5, "device": "cpu"},
        "sources": {"rooms": {"weight": 0.5, "uri": None}, "a b@c": {}},
        "long": "y" * 9000,
        "list": [1, 2],
    }
    with start_run(CONFIG, runs_dir, "params", "train") as run:
        run.params(data)
    params = fetch(runs_dir, run.run_id).data.params
    assert params["train.steps"] == "5"
    assert params["sources.rooms.uri"] == "null"
    assert params["sources.a b_c"] == "{}"
    assert params["list"] == "[1, 2]"
    assert len(params["long"]) == 500
    assert load_yaml(artifact(runs_dir, run.run_id, "recipe.yaml")) == data


def test_more_parameters_than_one_request_takes(runs_dir: Path):
    with start_run(CONFIG, runs_dir, "many", "search") as run:
        run.params({f"p{n}": n for n in range(250)}, artifact="search.yaml")
    assert len(fetch(runs_dir, run.run_id).data.params) == 250
    assert len(load_yaml(artifact(runs_dir, run.run_id, "search.yaml"))) == 250


def test_a_resumed_run_goes_on_under_its_id_and_keeps_first_parameters(runs_dir: Path):
    with pytest.raises(RuntimeError), start_run(CONFIG, runs_dir, "resumed", "train") as first:
        first.params({"workers": 2, "seed": 1})
        first.metrics({"loss": 3.0}, 0)
        raise RuntimeError("killed")
    with start_run(CONFIG, runs_dir, "resumed", "train", run_id=first.run_id) as second:
        assert fetch(runs_dir, second.run_id).info.status == "RUNNING"
        second.params({"workers": 4, "seed": 1, "new": True})
        second.metrics({"loss": 2.0}, 1)
    assert second.run_id == first.run_id
    ended = fetch(runs_dir, first.run_id)
    assert ended.info.status == "FINISHED"
    assert ended.data.params == {"workers": "2", "seed": "1", "new": "true"}
    assert load_yaml(artifact(runs_dir, first.run_id, "recipe.yaml"))["workers"] == 4
    history = connect(first.uri).get_metric_history(first.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(0, 3.0), (1, 2.0)]


def test_going_on_with_an_unknown_run_is_an_error(runs_dir: Path):
    with pytest.raises(ConfigError, match="has no run 0123abcd"):
        start_run(CONFIG, runs_dir, "x", "train", run_id="0123abcd")


def test_trials_are_nested_under_their_search(runs_dir: Path):
    search = start_run(CONFIG, runs_dir, "search", "search")
    with search, start_run(CONFIG, runs_dir, "trial", "trial", parent_run_id=search.run_id) as trial:
        pass
    client = connect(search.uri)
    experiment = client.get_experiment_by_name("vlm3").experiment_id
    children = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{search.run_id}'")
    assert [child.info.run_id for child in children] == [trial.run_id]


def test_an_attached_worker_logs_without_ending_the_run(runs_dir: Path):
    with start_run(CONFIG, runs_dir, "driver", "train") as driver:
        attach_run(driver.uri, driver.run_id).metrics({"train/loss": 1.5, "mixture/a@b": 0.25}, 7)
        current = fetch(runs_dir, driver.run_id)
        assert current.info.status == "RUNNING"
        assert current.data.metrics == {"train/loss": 1.5, "mixture/a_b": 0.25}


def test_pictures_and_texts_become_artifacts(runs_dir: Path, tmp_path: Path):
    figure = Figure(figsize=(2, 1), dpi=100)
    (tmp_path / "plan.json").write_text("{}")
    with start_run(CONFIG, runs_dir, "pictures", "train") as run:
        run.figure("figures/two.png", figure)
        run.text("notes/three.txt", "δ1\n")
        run.file(tmp_path / "plan.json", "plans")
    assert matplotlib.image.imread(artifact(runs_dir, run.run_id, "figures/two.png")).shape[:2] == (100, 200)
    assert artifact(runs_dir, run.run_id, "notes/three.txt").read_text(encoding="utf-8") == "δ1\n"
    assert artifact(runs_dir, run.run_id, "plans/plan.json").read_text() == "{}"


def test_data_sets_carry_uri_fingerprint_and_context(runs_dir: Path):
    with start_run(CONFIG, runs_dir, "data", "train") as run:
        run.dataset("rooms", "s3://bucket/rooms", "f" * 64, "train")
        run.dataset("ibims1", "/data/ibims1", "abc", "evaluation")
    inputs = fetch(runs_dir, run.run_id).inputs.dataset_inputs
    found = {
        entry.dataset.name: (entry.dataset.digest, entry.dataset.source_type, json.loads(entry.dataset.source)["uri"])
        for entry in inputs
    }
    assert found == {"rooms": ("f" * 36, "s3", "s3://bucket/rooms"), "ibims1": ("abc", "local", "/data/ibims1")}
    assert {entry.tags[0].value for entry in inputs} == {"train", "evaluation"}


def test_code_revision_is_that_of_the_checkout(runs_dir: Path):
    import subprocess

    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    ).stdout.strip()
    with start_run(CONFIG, runs_dir, "code", "train") as run:
        pass
    tags = fetch(runs_dir, run.run_id).data.tags
    assert tags["vlm3.version"]
    assert tags.get("mlflow.source.git.commit", "") == head


def test_machine_load_is_recorded_for_training_runs(runs_dir: Path, monkeypatch: pytest.MonkeyPatch):
    import time

    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    deadline_s = time.monotonic() + 60
    with start_run(CONFIG, runs_dir, "load", "train") as run:
        while "system/cpu_utilization_percentage" not in fetch(runs_dir, run.run_id).data.metrics:
            assert time.monotonic() < deadline_s, "nothing was recorded"
            time.sleep(0.1)


def test_a_server_by_uri_takes_everything_a_file_takes(mlflow_server: str, tmp_path: Path):
    config = TrackingConfig(uri=mlflow_server, experiment="remote")
    with start_run(config, tmp_path / "runs", "remote", "trial") as run:
        run.params({"train": {"steps": 3}})
        run.metrics({"loss": 1.0}, 2)
        run.text("note.txt", "one")
        run.dataset("rooms", "/data/rooms", "abc", "train")
    stored = connect(mlflow_server).get_run(run.run_id)
    assert (stored.info.status, stored.data.params, stored.data.metrics) == (
        "FINISHED",
        {"train.steps": "3"},
        {"loss": 1.0},
    )
    assert sorted(entry.path for entry in connect(mlflow_server).list_artifacts(run.run_id)) == [
        "note.txt",
        "recipe.yaml",
    ]
    assert not (tmp_path / "runs").exists()
