"""jobs/train.py and jobs/ingest.py with bad input: one clear line, exit code 2, nothing half-written."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.storage_fixtures import S3Server, make_bucket
from vlm3.config import dump_yaml

REPOSITORY = Path(__file__).resolve().parents[2]
ROOMS = {"scenes": 24, "frames_per_scene": 2, "width_px": 64, "height_px": 48}
RECIPE = {
    "name": "bad",
    "sources": {"rooms": {"weight": 1.0, "render": ROOMS}},
    "model": {"id": "tiny"},
    "engine": {"micro_batch": 4},
    "train": {"steps": 2, "global_batch": 4},
}


def run(job: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "RAY_TMPDIR")}
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "jobs" / job), *map(str, arguments)],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """The last line says it all, and there is one such line."""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2, done.stderr[-3000:]
    assert len(errors) == 1 and "Traceback" not in done.stderr, done.stderr[-3000:]
    for word in words:
        assert word in errors[0]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(dump_yaml(RECIPE))
    return tmp_path / "recipe.yaml"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "train.stepz=2"], ("stepz", "did you mean 'steps'")),
        (["--set", "train.device=cuda"], ("cuda", "GPU")),
        (["--set", "sources.rooms.weight=0"], ("draws nothing",)),
        (["--set", "mixture.weights={roms/depth: 1}"], ("roms/depth", "did you mean")),
        (["--set", "sources.empty={uri: nothing-here, weight: 1}"], ("nothing-here", "jobs/ingest.py")),
        (["--resume", "never"], ("never", "no such run")),
    ],
    ids=["unknown key", "no gpu", "no weight", "unknown source", "empty source", "unknown run"],
)
def test_what_cannot_be_trained_is_refused(
    recipe: Path, tmp_path: Path, arguments: list[str], words: tuple[str, ...]
) -> None:
    refused(run("train.py", recipe, "--runs", tmp_path / "runs", *arguments), *words)
    assert not list((tmp_path / "runs").glob("train/*")) and not (tmp_path / "runs" / "mlflow.db").exists()


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    refused(run("train.py", tmp_path / "absent.yaml", "--runs", tmp_path / "runs"), "absent.yaml", "no such file")
    assert not (tmp_path / "runs").exists()


def test_a_missing_bucket_is_named_by_both_jobs(recipe: Path, tmp_path: Path, rclone_server: S3Server) -> None:
    source = "sources.far={uri: s3://no-such-bucket/far, weight: 1}"
    environment = rclone_server.environment
    refused(run("train.py", recipe, "--runs", tmp_path / "runs", "--set", source, **environment), "no-such-bucket")
    data = tmp_path / "data"
    data.mkdir()
    (data / "labels.jsonl").write_text(
        '{"image": "a.png", "intrinsics": [1, 1, 0, 0, 2, 2], "pixel_coords": [], "depth": []}\n'
    )
    refused(run("ingest.py", data, "--to", "s3://no-such-bucket/x", **environment), "no-such-bucket")


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
    refused(run("ingest.py", tmp_path / "data" / folder, "--runs", tmp_path / "runs", *arguments), *words)
    assert not (tmp_path / "runs" / "data").exists()


def test_real_frames_are_ingested_from_the_command_line(
    data_dir: Path, tmp_path: Path, rclone_server: S3Server, use_s3: Callable[[S3Server], None]
) -> None:
    use_s3(rclone_server)
    make_bucket(rclone_server, "ingested")
    done = run(
        "ingest.py", data_dir / "depth_ibims1", "--to", "s3://ingested/ibims1", "--role", "eval", "--source", "ibims1"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "ibims1: {uri: s3://ingested/ibims1}" in done.stdout
    again = run(
        "ingest.py", data_dir / "depth_ibims1", "--to", "s3://ingested/ibims1", "--role", "eval", "--source", "ibims1"
    )
    assert again.returncode == 0 and "was there already" in again.stdout
    other = run("ingest.py", data_dir / "rgbd_hololens", "--to", "s3://ingested/ibims1")
    refused(other, "ibims1", "--replace")
