"""Predictions of other models, from Parquet: listed values and dense maps, with every fault named."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.frames import make_frame
from vlm3.asking.items import DepthItem, ObjectItem, PairItem
from vlm3.errors import DataError
from vlm3.evaluation.predictions import PredictedAnswerer, PredictionFile
from vlm3.evaluation.scoring import score
from vlm3.geometry.depth import DepthKind
from vlm3.geometry.rotation import YawPitchRoll, rotation_of
from vlm3.scenes.schema import Scale
from vlm3.tasks.correspondence.table import CorrespondenceTable
from vlm3.tasks.depth.table import DepthTable
from vlm3.tasks.objects.questions import questions_of
from vlm3.tasks.objects.table import ObjectTable
from vlm3.tasks.objects.task import ObjectsTaskConfig
from vlm3.tasks.pose.table import PoseTable

FRAME1, FRAME2 = make_frame("s", 0), make_frame("s", 1)
POINTS = np.array([[0.0, 0.0], [31.0, 23.0], [15.4, 11.6]])
DEPTH = DepthItem("s/0", "s", FRAME1, POINTS, np.array([1.0, 2.0, 3.0]))
MOVED = np.eye(4)
MOVED[:3, :3], MOVED[:3, 3] = rotation_of(YawPitchRoll(30, 0, 0)), (0, 0, 2.0)
PAIR = PairItem("s/0-1", "s", FRAME1, FRAME2, MOVED, POINTS, np.array([[1.0, 1.0], [np.nan, np.nan], [9.0, 9.0]]))


def answerer(folder: Path, *rows: dict[str, Any]) -> PredictedAnswerer:
    pq.write_table(pa.Table.from_pylist(list(rows)), folder / "predictions.parquet")
    return PredictedAnswerer(PredictionFile.open(folder / "predictions.parquet"))


def test_listed_depths_are_of_the_labels_kind_unless_it_is_said(tmp_path: Path) -> None:
    row = {"item": "s/0", "task": "depth", "values": [1.0, None, 3.0]}
    (table,) = answerer(tmp_path, row).answer(DEPTH)
    assert isinstance(table, DepthTable)
    assert table.predicted_m[0, 0] == 1.0 and np.isnan(table.predicted_m[1]).all()
    assert table.status.tolist() == ["ok", "unreadable", "ok"]
    longer = table.true_m[:, 1] / table.true_m[:, 0]
    assert (longer >= 1).all() and longer[0] > 1.1
    assert table.predicted_m[0, 1] == pytest.approx(longer[0])
    (as_ray,) = answerer(tmp_path, row | {"kind": "ray"}).answer(DEPTH)
    assert isinstance(as_ray, DepthTable)
    assert as_ray.predicted_m[0].tolist() == pytest.approx([1 / longer[0], 1.0])


def test_a_dense_map_of_another_size_is_sampled_at_the_nearest_pixel(tmp_path: Path) -> None:
    half = np.arange(12 * 16, dtype=np.float64).reshape(12, 16) + 1
    row = {"item": "s/0", "task": "depth", "values": half.ravel().tolist(), "height": 12, "width": 16}
    (table,) = answerer(tmp_path, row).answer(DEPTH)
    assert isinstance(table, DepthTable)
    # (15.4 + ½) / 2 − ½ = 7.45 and (11.6 + ½) / 2 − ½ = 5.55
    assert table.predicted_m[:, 0].tolist() == [half[0, 0], half[11, 15], half[6, 7]]


def test_flow_is_added_to_the_pixel_and_hidden_points_are_left_out(tmp_path: Path) -> None:
    flow = np.zeros((24, 32, 2))
    flow[0, 0], flow[12, 15] = (1.5, 2.5), (-3, -4)
    row = {"item": "s/0-1", "task": "correspondence", "values": flow.ravel().tolist(), "height": 24, "width": 32}
    (table,) = answerer(tmp_path, row).answer(PAIR)
    assert isinstance(table, CorrespondenceTable)
    assert table.predicted2_px.tolist() == [[1.5, 2.5], [15.4 - 3, 11.6 - 4]]
    (listed,) = answerer(tmp_path, row | {"values": [5.0, 6, 7, 8, 9, 10], "height": None, "width": None}).answer(PAIR)
    assert isinstance(listed, CorrespondenceTable) and listed.predicted2_px.tolist() == [[5, 6], [9, 10]]


def test_a_pose_gives_all_four_answers_and_no_metres_without_scale(tmp_path: Path) -> None:
    found = answerer(tmp_path, {"item": "s/0-1", "task": "pose", "values": MOVED.ravel().tolist()})
    (table,) = found.answer(PAIR)
    assert isinstance(table, PoseTable)
    assert table.predicted_angle_deg[0] == pytest.approx(30) and table.predicted_distance_m[0] == 2
    assert table.predicted_direction[0].tolist() == [0, 0, 1]
    assert set(table.status[0]) == {"ok"}
    relative = dataclasses.replace(FRAME1, scale=Scale.RELATIVE)
    (table,) = found.answer(dataclasses.replace(PAIR, frame1=relative))
    assert isinstance(table, PoseTable) and np.isnan(table.predicted_distance_m[0])
    assert table.status[0].tolist() == ["ok", "ok", "ok", "not asked"]
    (table,) = answerer(tmp_path, {"item": "s/0-1", "task": "pose", "values": [None] * 16}).answer(PAIR)
    assert isinstance(table, PoseTable) and set(table.status[0]) == {"unreadable"}


def test_a_camera_that_has_not_moved_has_a_distance_and_no_direction(tmp_path: Path) -> None:
    values = np.eye(4).ravel().tolist()
    (table,) = answerer(tmp_path, {"item": "s/0-1", "task": "pose", "values": values}).answer(PAIR)
    assert isinstance(table, PoseTable)
    assert table.status[0].tolist() == ["ok", "ok", "unreadable", "ok"] and table.predicted_distance_m[0] == 0
    far = [*values[:3], float("inf"), *values[4:]]
    (table,) = answerer(tmp_path, {"item": "s/0-1", "task": "pose", "values": far}).answer(PAIR)
    assert isinstance(table, PoseTable)
    assert table.status[0].tolist() == ["ok", "ok", "unreadable", "unreadable"]
    assert np.isnan(table.predicted_distance_m[0]) and np.isnan(table.predicted_direction[0]).all()


def test_what_is_not_finite_is_no_prediction(tmp_path: Path) -> None:
    (table,) = answerer(tmp_path, {"item": "s/0", "task": "depth", "values": [1.0, float("inf"), 3.0]}).answer(DEPTH)
    assert isinstance(table, DepthTable)
    assert np.isnan(table.predicted_m[1]).all() and table.status[1] == "unreadable"
    half = {"item": "s/0-1", "task": "correspondence", "values": [None, 5.0, 1, 1, 9, 9]}
    (places,) = answerer(tmp_path, half).answer(PAIR)
    assert isinstance(places, CorrespondenceTable)
    assert np.isnan(places.predicted2_px[0]).all() and places.status.tolist() == ["unreadable", "ok"]
    assert next(s.value for s in score("set", places, 0) if s.metric == "unreadable_share") == 0.5


def test_objects_are_numbers_in_the_order_of_the_questions(tmp_path: Path) -> None:
    item = ObjectItem("s/0", "s", FRAME1, None)
    asked = questions_of(item, ObjectsTaskConfig())
    row = {"item": "s/0", "task": "objects", "values": [question.value for question in asked]}
    (table,) = answerer(tmp_path, row).answer(item)
    assert isinstance(table, ObjectTable) and table.predicted.tolist() == table.true.tolist() and len(table) >= 2
    with pytest.raises(DataError, match="one a question"):
        answerer(tmp_path, row | {"values": [1.0]}).answer(item)


def test_a_row_without_values_is_a_missing_prediction_of_everything(tmp_path: Path) -> None:
    rows = [{"item": DEPTH.id, "task": "depth", "values": None}, {"item": "x", "task": "depth", "values": [1.0]}]
    (table,) = answerer(tmp_path, *rows).answer(DEPTH)
    assert isinstance(table, DepthTable)
    assert np.isnan(table.predicted_m).all() and set(table.status) == {"unreadable"}


def test_a_transposed_pose_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"last row of cam1_T_cam2 is \[0. 0. 2. 1.\], expected 0 0 0 1"):
        answerer(tmp_path, {"item": "s/0-1", "task": "pose", "values": MOVED.T.ravel().tolist()}).answer(PAIR)


def test_tasks_the_file_does_not_know_are_not_asked(tmp_path: Path) -> None:
    found = answerer(tmp_path, {"item": "s/0", "task": "depth", "values": [1.0, 2.0, 3.0]})
    assert found.answer(PAIR) == () and found.answer(ObjectItem("s/0", "s", FRAME1, None)) == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"item": "s/1"}, "no depth prediction for item 's/0'"),
        (
            {"values": [1.0]},
            r"predictions.parquet: depth prediction for item 's/0': expected 3 points × 1 values, found 1",
        ),
        ({"height": 2, "width": 2}, "a map of 2x2 px has 4 values, found 3"),
        ({"height": 2, "width": None}, "needs height and width"),
        ({"kind": "disparity"}, "kind 'disparity', expected z or ray"),
    ],
)
def test_faults_name_the_item(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    row = {"item": "s/0", "task": "depth", "values": [1.0, 2.0, 3.0], "height": None, "width": None, "kind": "z"}
    rows = pa.Table.from_pylist([row | change], pa.schema(
        [("item", pa.string()), ("task", pa.string()), ("values", pa.list_(pa.float32())), ("height", pa.int64()),
         ("width", pa.int64()), ("kind", pa.string())]
    ))  # fmt: skip
    pq.write_table(rows, tmp_path / "predictions.parquet")
    with pytest.raises(DataError, match=message):
        PredictedAnswerer(PredictionFile.open(tmp_path / "predictions.parquet")).answer(DEPTH)


def test_files_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        PredictionFile.open(tmp_path / "none.parquet")
    with pytest.raises(DataError, match="found no 'values'"):
        answerer(tmp_path, {"item": "s/0", "task": "depth"})
    with pytest.raises(DataError, match="column 'values' is of type string"):
        answerer(tmp_path, {"item": "s/0", "task": "depth", "values": "1.0"})
    with pytest.raises(DataError, match="did you mean 'depth'"):
        answerer(tmp_path, {"item": "s/0", "task": "Depth", "values": [1.0]})
    row = {"item": "s/0", "task": "depth", "values": [1.0]}
    with pytest.raises(DataError, match="'s/0' has two predictions for depth"):
        answerer(tmp_path, row, row)


def test_a_ray_label_is_kept_and_converted(tmp_path: Path) -> None:
    item = dataclasses.replace(DEPTH, frame=dataclasses.replace(FRAME1, depth_kind=DepthKind.RAY))
    (table,) = answerer(tmp_path, {"item": "s/0", "task": "depth", "values": [1.0, 2.0, 3.0]}).answer(item)
    assert isinstance(table, DepthTable)
    assert table.true_m[:, 1].tolist() == [1, 2, 3] and (table.true_m[:, 0] <= table.true_m[:, 1]).all()
    assert table.predicted_m == pytest.approx(table.true_m)
