"""Who may use a run's name, and which scores are taken for its own."""

import json
from pathlib import Path

import pytest

from pipelines.run_file import PADDED, RUN_FILE, claim, require_same_scores, tell_of_cut_images, write_run_file
from pipelines.runs import RunRequest
from vlm3.errors import CheckpointError, ConfigError
from vlm3.train.recipe import Recipe, load_recipe
from vlm3.train.resume import checkpoint_name

ROOMS = Path(__file__).resolve().parents[2] / "jobs" / "recipes" / "rooms.yaml"
ASKED = ("evaluation.images=30", "evaluation.points=7")


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(ROOMS, ASKED)


def test_a_name_is_used_once_and_continued_by_its_own_recipe(recipe: Recipe, tmp_path: Path) -> None:
    run_dir = tmp_path / "train" / "first"
    new, resumed = RunRequest("first", tmp_path), RunRequest("first", tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r"--resume first: no such run in .*/train; start it with --name first"):
        claim(run_dir, recipe, resumed)
    assert claim(run_dir, recipe, new) is None and not run_dir.exists()
    write_run_file(run_dir, "run-1", recipe)
    with pytest.raises(ConfigError, match="continue it with --resume first"):
        claim(run_dir, recipe, new)
    with pytest.raises(CheckpointError, match="it was started by another recipe"):
        claim(run_dir, load_recipe(ROOMS, [*ASKED, "seed=9"]), resumed)
    (run_dir / checkpoint_name(3)).mkdir()
    assert claim(run_dir, recipe, resumed) == "run-1"
    assert [path.name for path in run_dir.iterdir()] == [RUN_FILE], "what was being written when it stopped is removed"


def test_scores_of_other_questions_are_not_taken_for_these(recipe: Recipe, tmp_path: Path) -> None:
    request = RunRequest("first", tmp_path, resume=True)
    write_run_file(tmp_path, "run-1", recipe)
    require_same_scores(tmp_path, recipe, request)
    other = load_recipe(ROOMS, ["evaluation.images=30", "evaluation.points=8"])
    with pytest.raises(CheckpointError, match=r"--resume first: .* 30 images and 7 points .* evaluation.points=7"):
        require_same_scores(tmp_path, other, request)


def test_scores_of_an_earlier_version_that_did_not_record_its_questions_are_not_taken(
    recipe: Recipe, tmp_path: Path
) -> None:
    (tmp_path / RUN_FILE).write_text(json.dumps({"run_id": "r", "recipe_fingerprint": recipe.fingerprint()}))
    request = RunRequest("first", tmp_path, resume=True)
    assert claim(tmp_path, recipe, request) == "r"
    with pytest.raises(CheckpointError, match=r"delete .*/summary.json and resume again, which evaluates it anew"):
        require_same_scores(tmp_path, recipe, request)


def test_a_run_that_saw_cut_images_says_so_when_it_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for images, told in (({}, 1), ({"images": PADDED}, 0)):
        caplog.clear()
        (tmp_path / RUN_FILE).write_text(json.dumps({"run_id": "1", **images}))
        tell_of_cut_images(tmp_path)
        assert len(caplog.records) == told
        assert all("cut down to whole tokens" in record.getMessage() for record in caplog.records)
