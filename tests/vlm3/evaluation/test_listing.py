"""What is listed is what predictions are held against."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlm3.benchmarks.opening import open_benchmark
from vlm3.evaluation.listing import list_items
from vlm3.evaluation.predictions import PredictedAnswerer, PredictionFile


@pytest.mark.parametrize(
    ("pack", "tasks"),
    [
        ("depth_ibims1", {"depth"}),
        ("rgbd_hololens", {"depth", "correspondence", "pose"}),
        ("pairs_strecha", {"correspondence", "pose"}),
        ("poses_fox", {"pose"}),
        ("boxes_kitti", {"objects"}),
    ],
)
def test_a_file_that_follows_the_list_is_taken(data_dir: Path, tmp_path: Path, pack: str, tasks: set[str]) -> None:
    benchmark = open_benchmark(str(data_dir / pack), pack)
    listed = list_items(benchmark, benchmark.rows()).to_pylist()
    assert {entry["task"] for entry in listed} == tasks

    def values(entry: dict[str, Any]) -> list[float]:
        if entry["task"] == "objects":
            return [1.0] * len(entry["questions"])
        return [1.0] * {"depth": len(entry["points_px"] or ()) // 2, "pose": 16}.get(
            entry["task"], len(entry["points_px"] or ())
        )

    rows = [{"item": entry["item"], "task": entry["task"], "values": values(entry)} for entry in listed]
    for row in rows:
        if row["task"] == "pose":
            row["values"] = [1.0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    answerer = PredictedAnswerer(PredictionFile.open(tmp_path / "p.parquet"))
    answered = [table for row in benchmark.rows() for item in benchmark.read(row) for table in answerer.answer(item)]
    assert {table.task for table in answered} == tasks and len(answered) == len(rows)


def test_regions_come_with_the_questions_about_them(data_dir: Path) -> None:
    benchmark = open_benchmark(str(data_dir / "boxes_kitti"), "kitti")
    for entry in list_items(benchmark, benchmark.rows()).to_pylist():
        for question, regions in zip(entry["questions"], entry["regions_px"], strict=True):
            assert len(regions) == (4 if question in ("width_data", "height_data") else 8)
