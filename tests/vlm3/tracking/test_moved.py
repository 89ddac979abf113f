"""A runs folder may be moved, renamed and copied: what it holds is found in it, and nothing is written elsewhere."""

import json
import shutil
from pathlib import Path

import pytest
from mlflow.tracking._tracking_service import utils

from vlm3.tracking.client import connect, prepare_tracking, tracking_uri
from vlm3.tracking.config import TrackingConfig
from vlm3.tracking.registry import promote_if_better, register, resolve
from vlm3.tracking.runs import start_run

CONFIG = TrackingConfig()
CHAMPION = "models:/vlm3-depth@champion"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A runs folder with a champion."""
    export = tmp_path / "export"
    export.mkdir()
    (export / "config.json").write_text("{}")
    folder = tmp_path / "old runs #1"
    with start_run(CONFIG, folder, "one", "evaluation") as run:
        version = register(CONFIG, run.uri, run.run_id, export, "delta1", 0.5, "data")
        promote_if_better(CONFIG, run.uri, version, "delta1", 0.5)
        (tmp_path / "run").write_text(run.run_id)
    return folder


@pytest.fixture(autouse=True)
def as_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow keeps where a run's artifacts lie; the process that opens a moved folder never knew."""
    monkeypatch.setattr(utils._artifact_repos_cache, "get", lambda run_id: None, raising=False)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def go_on(runs_dir: Path, run_id: str) -> None:
    with start_run(CONFIG, runs_dir, "one", "evaluation", run_id=run_id) as run:
        run.text("later.txt", "later")
    with start_run(CONFIG, runs_dir, "two", "evaluation") as run:
        run.text("new.txt", "new")


@pytest.mark.parametrize("first", ["resolve", "go on"])
def test_in_a_moved_folder_the_champion_is_found_and_the_old_place_stays_empty(
    runs: Path, tmp_path: Path, first: str
) -> None:
    moved = tmp_path / "archive" / "new"
    moved.parent.mkdir()
    runs.rename(moved)
    if first == "go on":
        go_on(moved, (tmp_path / "run").read_text())
    uri = tracking_uri(CONFIG, moved)
    assert (resolve(CHAMPION, uri, moved / "served").directory / "config.json").read_text() == "{}"
    if first == "resolve":
        go_on(moved, (tmp_path / "run").read_text())
    assert not runs.exists()
    assert {path.name for path in moved.rglob("*.txt")} == {"later.txt", "new.txt"}
    client = connect(uri)
    (version,) = client.search_model_versions("name = 'vlm3-depth'")
    places = [version.source, client.get_model_version_download_uri("vlm3-depth", version.version)]
    places += [client.get_experiment_by_name("vlm3").artifact_location]
    assert all(place.startswith(f"{moved.as_uri()}/mlartifacts") for place in places)


def test_a_copy_is_read_and_written_and_the_original_stays_as_it_is(runs: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(runs, copy)
    (next((copy / "mlartifacts").rglob("config.json"))).write_text(json.dumps({"copy": True}))
    before = files(runs / "mlartifacts")
    go_on(copy, (tmp_path / "run").read_text())
    assert files(runs / "mlartifacts") == before
    assert {path.name for path in copy.rglob("*.txt")} == {"later.txt", "new.txt"}
    uri = connect(tracking_uri(CONFIG, copy)).get_model_version_download_uri("vlm3-depth", "1")
    assert uri.startswith(copy.as_uri())
    assert (
        connect(tracking_uri(CONFIG, runs)).get_model_version_download_uri("vlm3-depth", "1").startswith(runs.as_uri())
    )


def test_a_moved_folder_without_runs_gets_its_next_run(tmp_path: Path) -> None:
    prepare_tracking(CONFIG, tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    go_on_run = start_run(CONFIG, tmp_path / "new", "one", "evaluation")
    go_on_run.text("new.txt", "new")
    assert not (tmp_path / "old").exists() and list((tmp_path / "new").rglob("new.txt"))


def test_a_folder_that_records_into_the_database_of_another_keeps_its_artifacts(runs: Path, tmp_path: Path) -> None:
    """One database for two runs folders, each with an experiment of its own."""
    guest = TrackingConfig(uri=tracking_uri(CONFIG, runs), experiment="guest")
    with start_run(guest, tmp_path / "guest", "g", "evaluation") as run:
        run.text("guest.txt", "guest")
    prepare_tracking(CONFIG, runs)
    with start_run(guest, tmp_path / "guest", "h", "evaluation") as run:
        run.text("guest.txt", "guest")
    assert len(list((tmp_path / "guest").rglob("guest.txt"))) == 2 and not list(runs.rglob("guest.txt"))
