"""jobs/tune.py as a user runs it: a tiny search from the command line to the mixture that jobs/train.py takes."""

import csv
import re
from pathlib import Path

import pytest
from matplotlib.image import imread

from tests.job_runs import NO_RAY, RayVariables, refused, run_job
from vlm3.config import dump_yaml, load_yaml
from vlm3.tracking.client import connect
from vlm3.train.recipe import load_recipe

ROOMS = {"scenes": 12, "frames_per_scene": 4, "width_px": 96, "height_px": 72}
RECIPE = {
    "name": "tiny",
    "sources": {
        "rooms": {"weight": 3.0, "render": {**ROOMS, "seed": 1}},
        "studios": {"weight": 1.0, "render": {**ROOMS, "seed": 2}},
    },
    "tasks": {
        "depth": {
            "focal_px": 50,
            "ask": {"points": 3, "reference_range": 100, "decimals": 1, "templates": "compact-1"},
        }
    },
    "model": {"id": "tiny"},
    "engine": {"zero_stage": 0, "micro_batch": 4},
    "train": {"steps": 50, "global_batch": 4, "checkpoint_every_steps": 50},
    "evaluation": {"images": 2, "points": 2},
}
SEARCH = {"recipe": "tiny.yaml", "trials": 2, "steps": 2}


@pytest.fixture(scope="module")
def search_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "tiny.yaml").write_text(dump_yaml(RECIPE))
    (folder / "search.yaml").write_text(dump_yaml(SEARCH))
    return folder / "search.yaml"


@pytest.mark.long
def test_a_search_ends_with_a_mixture_that_training_takes(
    search_file: Path, tmp_path: Path, joined: RayVariables
) -> None:
    runs = tmp_path / "runs"
    done = run_job(joined, "tune", search_file, "--runs", runs, "--name", "s")
    assert done.returncode == 0, done.stderr[-4000:]
    assert "mixture search by eval/*/delta1" in done.stdout and "--with" in done.stdout

    folder = runs / "search" / "s"
    rows = list(csv.DictReader((folder / "trials.csv").open()))
    assert {row["state"] for row in rows} == {"finished"}
    by_number = {row["trial"]: (float(row["rooms"]), float(row["studios"])) for row in rows}
    assert by_number == {"0": (0.75, 0.25), "1": (0.5, 0.5)}
    assert float(rows[0]["score"]) >= float(rows[1]["score"])
    assert imread(folder / "trials.png").std() > 0

    recipe = load_recipe(search_file.parent / "tiny.yaml", overlays=[folder / "mixture.yaml"])
    best = tuple(recipe.sources[name].weight / 4 for name in ("rooms", "studios"))
    assert best == by_number[rows[0]["trial"]]
    assert load_yaml(folder / "mixture.yaml").keys() == {"sources"}

    client = connect(f"sqlite:///{runs}/mlflow.db")
    everything = client.search_runs([client.get_experiment_by_name("vlm3").experiment_id])
    kinds = {run.info.run_id: run.data.tags["vlm3.kind"] for run in everything}
    assert sorted(kinds.values()) == ["search", "trial", "trial"]
    (search_id,) = (run_id for run_id, kind in kinds.items() if kind == "search")
    trials = [run for run in everything if run.data.tags.get("mlflow.parentRunId") == search_id]
    assert {run.info.run_id for run in trials} == {row["run_id"] for row in rows}
    for run in everything:
        assert run.info.status == "FINISHED"
    for run in trials:
        assert run.data.params["train.steps"] == "2"
        evaluated = [
            value for name, value in run.data.metrics.items() if re.fullmatch(r"eval/(rooms|studios)/delta1", name)
        ]
        score = next(float(row["score"]) for row in rows if row["run_id"] == run.info.run_id)
        assert score == pytest.approx(sum(evaluated) / len(evaluated))
    stored = {entry.path for entry in client.list_artifacts(search_id)}
    assert stored >= {"mixture.yaml", "trials.csv", "trials.md", "trials.png", "search.yaml"}
    assert not any((runs / "trial").iterdir()), "weights of trials are not kept"
    assert client.search_registered_models() == []

    other = run_job(joined, "tune", search_file, "--runs", runs, "--resume", "s", "--set", "steps=3")
    refused(other, "started with another recipe")

    resumed = run_job(joined, "tune", search_file, "--runs", runs, "--resume", "s")
    assert resumed.returncode == 0, resumed.stderr[-4000:]
    assert list(csv.DictReader((folder / "trials.csv").open())) == rows, "settled trials are not trained again"
    assert client.get_run(search_id).info.status == "FINISHED"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "trails=3"], "did you mean 'trials'"),
        (["--recipe", "absent.yaml"], "absent.yaml: no such file"),
    ],
    ids=["key", "recipe"],
)
def test_a_wrong_search_is_one_clear_line_and_leaves_nothing(
    search_file: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    refused(run_job(NO_RAY, "tune", search_file, "--runs", tmp_path / "runs", *arguments), message)
    assert not (tmp_path / "runs").exists() or list((tmp_path / "runs").iterdir()) == []
