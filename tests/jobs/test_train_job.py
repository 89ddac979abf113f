"""jobs/train.py and jobs/ingest.py with bad input: one clear line, exit code 2, nothing half-written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.job_runs import NO_RAY, OWN_RAY, RayVariables, refused, run_job
from tests.storage_fixtures import S3Server, make_bucket
from vlm3.config import dump_yaml

ROOMS = {"scenes": 24, "frames_per_scene": 2, "width_px": 64, "height_px": 48}
RECIPE = {
    "name": "small",
    "sources": {"rooms": {"weight": 1.0, "render": ROOMS}},
    "model": {"id": "tiny"},
    "engine": {"micro_batch": 4},
    "train": {"steps": 2, "global_batch": 4},
}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(dump_yaml(RECIPE))
    return tmp_path / "recipe.yaml"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "train.stepz=2"], ("stepz", "did you mean 'steps'")),
        (["--set", "sources.rooms.weight=0"], ("draws nothing",)),
        (["--set", "mixture.weights={roms/depth: 1}"], ("roms/depth", "did you mean")),
        (["--set", "sources.empty={uri: nothing-here, weight: 1}"], ("nothing-here", "jobs/ingest.py")),
        (["--resume", "never"], ("never", "no such run")),
    ],
    ids=["unknown key", "no weight", "unknown source", "empty source", "unknown run"],
)
def test_what_cannot_be_trained_is_refused(
    recipe: Path, tmp_path: Path, arguments: list[str], words: tuple[str, ...]
) -> None:
    refused(run_job(NO_RAY, "train", recipe, "--runs", tmp_path / "runs", *arguments), *words)
    assert not list((tmp_path / "runs").glob("train/*")) and not (tmp_path / "runs" / "mlflow.db").exists()


def test_going_on_whatever_happened_needs_a_name(recipe: Path, tmp_path: Path) -> None:
    refused(run_job(NO_RAY, "train", recipe, "--runs", tmp_path / "runs", "--continue"), "--continue needs --name")
    assert not (tmp_path / "runs").exists()


def test_a_gpu_that_this_machine_lacks_is_missed_before_anything_is_rendered(recipe: Path, tmp_path: Path) -> None:
    asked = ("train", recipe, "--runs", tmp_path / "runs", "--set", "train.device=cuda")
    refused(run_job(OWN_RAY, *asked, CUDA_VISIBLE_DEVICES=""), "cuda", "GPU")
    assert not list((tmp_path / "runs").glob("train/*")) and not list((tmp_path / "runs").glob("data/*"))


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    refused(
        run_job(NO_RAY, "train", tmp_path / "absent.yaml", "--runs", tmp_path / "runs"), "absent.yaml", "no such file"
    )
    assert not (tmp_path / "runs").exists()


def test_a_missing_bucket_is_named_by_both_jobs(recipe: Path, tmp_path: Path, rclone_server: S3Server) -> None:
    source = "sources.far={uri: s3://no-such-bucket/far, weight: 1}"
    environment = rclone_server.environment
    refused(
        run_job(NO_RAY, "train", recipe, "--runs", tmp_path / "runs", "--set", source, **environment), "no-such-bucket"
    )
    data = tmp_path / "data"
    data.mkdir()
    (data / "labels.jsonl").write_text(
        '{"image": "a.png", "intrinsics": [1, 1, 0, 0, 2, 2], "pixel_coords": [], "depth": []}\n'
    )
    refused(run_job(NO_RAY, "ingest", data, "--to", "s3://no-such-bucket/x", **environment), "no-such-bucket")


@pytest.mark.parametrize(
    ("folder", "arguments", "words"),
    [
        ("absent", [], ("absent", "no such folder")),
        ("", [], ("supported", "frames.json")),
        ("", ["--set", "clip_framez=3"], ("did you mean 'clip_frames'",)),
    ],
    ids=["no folder", "nothing in it", "unknown key"],
)
def test_what_cannot_be_ingested_is_refused(
    tmp_path: Path, folder: str, arguments: list[str], words: tuple[str, ...]
) -> None:
    (tmp_path / "data").mkdir()
    refused(run_job(NO_RAY, "ingest", tmp_path / "data" / folder, "--runs", tmp_path / "runs", *arguments), *words)
    assert not (tmp_path / "runs" / "data").exists()


def test_real_frames_are_ingested_from_the_command_line(
    data_dir: Path, rclone_server: S3Server, use_s3: Callable[[S3Server], None], joined: RayVariables
) -> None:
    use_s3(rclone_server)
    make_bucket(rclone_server, "ingested")
    asked = (data_dir / "depth_ibims1", "--to", "s3://ingested/ibims1", "--role", "eval", "--source", "ibims1")
    done = run_job(joined, "ingest", *asked)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "ibims1: {uri: s3://ingested/ibims1}" in done.stdout
    again = run_job(joined, "ingest", *asked)
    assert again.returncode == 0 and "was there already" in again.stdout
    other = run_job(joined, "ingest", data_dir / "rgbd_hololens", "--to", "s3://ingested/ibims1")
    refused(other, "ibims1", "--replace")
