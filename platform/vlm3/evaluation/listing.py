"""What a benchmark asks, as a table: what a file of predictions has to answer, in which order."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vlm3.benchmarks.items import Benchmark, DepthItem, Item, PairItem
from vlm3.evaluation.object_questions import questions_of
from vlm3.tasks.objects import ObjectsTaskConfig

SCHEMA = pa.schema(
    [
        ("item", pa.string()),
        ("task", pa.string()),
        ("images", pa.list_(pa.string())),
        ("points_px", pa.list_(pa.float64())),
        ("kind", pa.string()),
        ("questions", pa.list_(pa.string())),
        ("regions_px", pa.list_(pa.list_(pa.float64()))),
    ]
)
"""`points_px`: x, y of each point in the original (first) image; `kind`: of the depth labels; `regions_px`: x0, y0, x1,
y1 of the regions of each question."""


def list_items(benchmark: Benchmark, rows: Sequence[str]) -> pa.Table:
    """A row for each item and task of these rows of a benchmark.

    Raises:
        DataError: a row is bad.
    """
    listed = [entry for row in rows for item in benchmark.read(row) for entry in _entries(item)]
    return pa.Table.from_pylist(listed, SCHEMA)


def _entries(item: Item) -> list[dict[str, Any]]:
    if isinstance(item, DepthItem):
        points = item.points_px.ravel().tolist()
        kind = item.frame.depth_kind.value
        return [_entry(item.id, "depth", [item.frame.frame], points_px=points, kind=kind)]
    if isinstance(item, PairItem):
        images = [item.frame1.frame, item.frame2.frame]
        entries = []
        if len(item.points1_px):
            entries.append(_entry(item.id, "correspondence", images, points_px=item.points1_px.ravel().tolist()))
        if item.cam1_T_cam2 is not None:
            entries.append(_entry(item.id, "pose", images))
        return entries
    questions = questions_of(item, ObjectsTaskConfig())
    asked = [question.question.value for question in questions]
    regions = [np.ravel(question.regions_px).tolist() for question in questions]
    return [_entry(item.id, "objects", [item.frame.frame], questions=asked, regions_px=regions)] if asked else []


def _entry(item: str, task: str, images: list[str], **more: Any) -> dict[str, Any]:
    return {"item": item, "task": task, "images": images} | more
