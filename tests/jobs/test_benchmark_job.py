"""jobs/benchmark.py as it is run: tables, files, comparison, and one line for what cannot be done."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.answer_tables import depth_answers
from tests.job_runs import NO_RAY, RayVariables, refused, run_job
from vlm3.asking.tables import to_arrow


def test_one_command_measures_all_tasks_of_several_benchmarks(
    data_dir: Path, export_dir: Path, tmp_path: Path, joined: RayVariables
) -> None:
    sets = [data_dir / name for name in ("depth_ibims1", "boxes_kitti", "pairs_strecha")]
    ask = tmp_path / "ask.yaml"
    small = "{focal_px: 70, ask: {templates: compact-1, reference_range: 100}}"
    ask.write_text("\n".join(f"{task}: {small}" for task in ("depth", "correspondence", "objects")))
    runs = tmp_path / "runs"
    named = ("--limit", 2, "--name", "all", "--runs", runs)
    done = run_job(joined, "benchmark", export_dir, *sets, "--ask", ask, *named)
    assert done.returncode == 0, done.stdout + done.stderr
    for text in ("depth_ibims1", "boxes_kitti", "pairs_strecha", "best constant", "copy the pixel", "unreadable"):
        assert text in done.stdout
    assert "│ depth_ibims1" in done.stdout and "depth_ibims1: rows 2/2" in done.stderr
    folder = runs / "evaluation" / "all"
    assert {path.stem for path in folder.glob("*/*.parquet")} == {"depth", "objects", "correspondence"}
    again = run_job(joined, "benchmark", export_dir, *sets, "--ask", ask, *named)
    assert again.returncode == 0 and "rows 2/2" not in again.stderr, "everything was answered already"
    refused(run_job(joined, "benchmark", export_dir, sets[0], *named), "choose another --name")


def test_what_is_asked_is_listed(data_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "items.parquet"
    done = run_job(NO_RAY, "benchmark", data_dir / "depth_ibims1", "--list-items", file, "--runs", tmp_path)
    assert done.returncode == 0 and "30 items of depth_ibims1" in done.stdout, done.stderr
    listed = pq.read_table(file)
    assert listed["item"][0].as_py() == "corridor_01" and len(listed["points_px"][0]) == 200
    two = run_job(NO_RAY, "benchmark", "a", "b", "--list-items", file, "--runs", tmp_path)
    refused(two, "lists one benchmark, found 2 paths")


def test_two_evaluations_are_compared(tmp_path: Path) -> None:
    true = [1.0 + n / 10 for n in range(40)]
    for name, factor in (("a", 2.0), ("b", 1.0)):
        folder = tmp_path / "evaluation" / name / "rooms"
        folder.mkdir(parents=True)
        pq.write_table(to_arrow(depth_answers(true, [factor * metres for metres in true])), folder / "depth.parquet")
    done = run_job(NO_RAY, "benchmark", "--compare", "a", "b", "--runs", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "b against a" in done.stdout and "+1.000 [+1.000, +1.000]" in done.stdout and "better" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected a model and at least one benchmark"),
        (("m",), "expected a model and at least one benchmark"),
        (("m", "d", "--limit", "0"), "--limit: expected at least 1"),
        (("m", "d", "--cpus", "inf"), "--cpus: expected a number above 0, found inf"),
        (("m", "--compare", "a", "b"), "--compare takes the names"),
        (("--compare", "a", "b"), "no such evaluation"),
        (("models:/nothing@champion", "d"), "no MLflow store"),
        (("http://127.0.0.1:9/v1", "d"), "--endpoint-model"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    refused(run_job(NO_RAY, "benchmark", *arguments, "--runs", tmp_path), message)
