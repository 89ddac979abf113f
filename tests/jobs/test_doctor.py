"""jobs/doctor.py as it is run: table, sheet, JSON, and exit codes 0, 1 and 2."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.broken import write_source
from tests.job_runs import NO_RAY, run_job
from tests.storage_fixtures import S3Server, make_bucket
from vlm3.sources.rooms.reader import RoomsConfig, RoomsReader
from vlm3.storage.store import open_store


def doctor(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Sources are looked at without Ray."""
    return run_job(NO_RAY, "doctor", *arguments)


def findings(file: Path) -> dict[str, dict[str, Any]]:
    return {finding["check"]: finding for finding in json.loads(file.read_text())["findings"]}


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered rooms, ingested."""
    folder = tmp_path_factory.mktemp("sources") / "rooms"
    write_source(RoomsReader(RoomsConfig(scenes=8, frames_per_scene=8)), folder)
    return folder


@pytest.fixture
def copy(rooms: Path, tmp_path: Path) -> Path:
    """A source to be damaged."""
    shutil.copytree(rooms, tmp_path / "rooms")
    return tmp_path / "rooms"


def test_a_sound_source_passes_with_sheet_and_json(rooms: Path, tmp_path: Path) -> None:
    sheet, file = tmp_path / "new" / "sheet.png", tmp_path / "new" / "findings.json"
    done = doctor(rooms, "--focal", 70, "--sheet", sheet, "--json", file, "--full")
    assert done.returncode == 0, done.stdout + done.stderr
    found = findings(file)
    assert list(found)[:4] == ["manifest", "shards", "schema", "checksums"]
    assert {finding["verdict"] for finding in found.values()} == {"ok"}
    assert found["reprojection"]["value"] > 0.95
    assert all(check in done.stdout for check in found)
    assert min(cv2.imread(str(sheet)).shape[:2]) > 1000
    again = doctor(rooms, "--split", "eval", "--samples", 16, "--focal", 70)
    assert "rooms, eval" in again.stdout


@pytest.mark.parametrize(
    ("name", "told"), [("rgbd_7scenes", "ok"), ("rgbd_hololens", "ok"), ("depth_ibims1", "cannot tell")]
)
def test_real_folders_pass_before_they_are_ingested(data_dir: Path, tmp_path: Path, name: str, told: str) -> None:
    done = doctor(data_dir / name, "--json", tmp_path / "f.json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = findings(tmp_path / "f.json")
    checks = ("reprojection", "pose convention", "depth scale", "depth kind")
    assert {found[check]["verdict"] for check in checks} == {told}
    assert {finding["verdict"] for finding in found.values()} == {"ok", "cannot tell"}


def test_a_folder_with_inverted_poses_fails_and_says_so(data_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "wrong"
    shutil.copytree(data_dir / "rgbd_hololens", folder)
    (folder / "frames.json").chmod(0o644)
    index = json.loads((folder / "frames.json").read_text())
    for frame in index["frames"]:
        frame["T_world_cam"] = np.linalg.inv(frame["T_world_cam"]).tolist()
    (folder / "frames.json").write_text(json.dumps(index))
    done = doctor(folder)
    assert done.returncode == 1
    assert "world_T_cam inverted" in done.stdout


def test_depth_in_millimetres_is_rejected_by_ingest_and_explained_here(data_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "wrong"
    shutil.copytree(data_dir / "rgbd_hololens", folder)
    (folder / "frames.json").chmod(0o644)
    index = json.loads((folder / "frames.json").read_text())
    for frame in index["frames"]:
        frame["depth_scale"] = 1
    (folder / "frames.json").write_text(json.dumps(index))
    done = doctor(folder, "--json", tmp_path / "f.json")
    assert done.returncode == 1
    found = findings(tmp_path / "f.json")
    assert found["frames"]["verdict"] == found["depth scale"]["verdict"] == "fail"
    assert "millimetres read as metres" in found["depth scale"]["figure"]


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (lambda data: data[: len(data) // 2], "shards"),
        (lambda data: bytes(len(data)), "schema"),
        (
            lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 255]) + data[len(data) // 2 + 1 :],
            "frames",
        ),
    ],
    ids=["cut", "zeros", "flipped"],
)
def test_damaged_shards_are_failures_and_no_tracebacks(
    copy: Path, tmp_path: Path, damage: Callable[[bytes], bytes], check: str
) -> None:
    for path in copy.glob("train-*.parquet"):
        path.write_bytes(damage(path.read_bytes()))
    done = doctor(copy, "--json", tmp_path / "f.json", "--sheet", tmp_path / "sheet.png")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert findings(tmp_path / "f.json")[check]["verdict"] == "fail"
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_a_damaged_manifest_is_a_failure(copy: Path) -> None:
    (copy / "manifest.parquet").write_bytes(b"PAR1 nothing else")
    done = doctor(copy)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "damaged" in done.stdout


def test_a_broken_jpeg_in_a_folder_is_a_finding_that_names_it(data_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ibims"
    shutil.copytree(data_dir / "depth_ibims1", folder)
    pictures = sorted((folder / "rgb").iterdir())
    for path in pictures[:5]:
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:500])
    done = doctor(folder)
    assert done.returncode == 1, done.stdout
    assert f"25 of {len(pictures)}" in done.stdout and "Traceback" not in done.stderr


def test_a_source_in_object_storage(
    rooms: Path, tmp_path: Path, rclone_server: S3Server, use_s3: Callable[[S3Server], None]
) -> None:
    use_s3(rclone_server)
    make_bucket(rclone_server, "patients")
    store = open_store("s3://patients/rooms")
    for path in rooms.iterdir():
        store.write_atomic(path.name, path.read_bytes())
    done = doctor("s3://patients/rooms", "--samples", 16, "--focal", 70)
    assert done.returncode == 0, done.stdout + done.stderr
    refused = doctor("s3://patients/nothing")
    assert refused.returncode == 2
    assert "no complete source" in refused.stderr
    assert doctor("s3://no-such-bucket/x").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("nothing-here",), "no such folder"),
        ((".", "--split", "eval"), "for ingested sources"),
        ((".", "--samples", "1"), "--samples"),
        ((".", "--sheet", "sheet.jpg"), ".png"),
        (("ftp://x/y",), "unknown kind of storage"),
    ],
)
def test_what_a_user_can_put_right_is_one_line_and_exit_code_2(arguments: tuple[str, ...], word: str) -> None:
    done = doctor(*arguments)
    assert done.returncode == 2
    assert word in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_a_split_without_clips_is_refused(tmp_path: Path) -> None:
    write_source(RoomsReader(RoomsConfig(scenes=1, frames_per_scene=8)), tmp_path / "one")
    done = doctor(tmp_path / "one", "--split", "eval")
    assert done.returncode == 2
    assert "split eval has no clip" in done.stderr
