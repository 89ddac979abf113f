"""jobs/benchmark.py as it is run: tables, files, comparison, and one line for what cannot be done."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.answer_tables import depth_answers
from vlm3.evaluation.tables import to_arrow

ROOT = Path(__file__).resolve().parents[2]


def benchmark(*arguments: object) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT / "platform"), str(ROOT)])
    return subprocess.run(
        [sys.executable, ROOT / "jobs" / "benchmark.py", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "250"},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.long
def test_one_command_measures_all_tasks_of_several_benchmarks(data_dir: Path, export_dir: Path, tmp_path: Path) -> None:
    sets = [data_dir / name for name in ("depth_ibims1", "boxes_kitti", "pairs_strecha")]
    ask = tmp_path / "ask.yaml"
    small = "{focal_px: 70, ask: {templates: compact-1, reference_range: 100}}"
    ask.write_text("\n".join(f"{task}: {small}" for task in ("depth", "correspondence", "objects")))
    runs = tmp_path / "runs"
    done = benchmark(export_dir, *sets, "--ask", ask, "--limit", 3, "--name", "all", "--runs", runs)
    assert done.returncode == 0, done.stdout + done.stderr
    for text in ("depth_ibims1", "boxes_kitti", "pairs_strecha", "best constant", "copy the pixel", "unreadable"):
        assert text in done.stdout
    assert "│ depth_ibims1" in done.stdout and "depth_ibims1: rows 3/3" in done.stderr
    folder = runs / "evaluation" / "all"
    assert {path.stem for path in folder.glob("*/*.parquet")} == {"depth", "objects", "correspondence"}
    again = benchmark(export_dir, *sets, "--ask", ask, "--limit", 3, "--name", "all", "--runs", runs)
    assert again.returncode == 0 and "rows 3/3" not in again.stderr, "everything was answered already"
    other = benchmark(export_dir, sets[0], "--limit", 3, "--name", "all", "--runs", runs)
    assert other.returncode == 2 and "choose another --name" in other.stderr


def test_what_is_asked_is_listed(data_dir: Path, tmp_path: Path) -> None:
    done = benchmark(data_dir / "depth_ibims1", "--list-items", tmp_path / "new" / "items.parquet", "--runs", tmp_path)
    assert done.returncode == 0 and "30 items of depth_ibims1" in done.stdout, done.stderr
    listed = pq.read_table(tmp_path / "new" / "items.parquet")
    assert listed["item"][0].as_py() == "corridor_01" and len(listed["points_px"][0]) == 200
    done = benchmark("a", "b", "--list-items", tmp_path / "items.parquet", "--runs", tmp_path)
    assert done.returncode == 2 and "lists one benchmark, found 2 paths" in done.stderr


def test_two_evaluations_are_compared(tmp_path: Path) -> None:
    true = [1.0 + n / 10 for n in range(40)]
    for name, factor in (("a", 2.0), ("b", 1.0)):
        folder = tmp_path / "evaluation" / name / "rooms"
        folder.mkdir(parents=True)
        pq.write_table(to_arrow(depth_answers(true, [factor * metres for metres in true])), folder / "depth.parquet")
    done = benchmark("--compare", "a", "b", "--runs", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "b against a" in done.stdout and "+1.000 [+1.000, +1.000]" in done.stdout and "better" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected a model and at least one benchmark"),
        (("m",), "expected a model and at least one benchmark"),
        (("m", "d", "--limit", "0"), "--limit: expected at least 1"),
        (("m", "--compare", "a", "b"), "--compare takes the names"),
        (("--compare", "a", "b"), "no such evaluation"),
        (("models:/nothing@champion", "d"), "no MLflow store"),
        (("http://127.0.0.1:9/v1", "d"), "--endpoint-model"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = benchmark(*arguments, "--runs", tmp_path)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert message in line and "Traceback" not in done.stderr
