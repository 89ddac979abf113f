"""Pictures of an evaluation show what they say."""

from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from tests.answer_tables import correspondence_answers, depth_answers, object_answers, pose_answers
from vlm3.evaluation.report import Report, Score
from vlm3.geometry.camera import Camera
from vlm3.geometry.rotation import YawPitchRoll
from vlm3.pictures.drawing import RIGHT, WRONG
from vlm3.scenes.schema import Box
from vlm3.tasks.correspondence.pictures import match_lines
from vlm3.tasks.depth.pictures import error_by_depth
from vlm3.tasks.objects.pictures import boxes_overlay
from vlm3.tasks.pose.pictures import camera_pair
from vlm3.tracking.evaluation_pictures import score_by_benchmark

NAN = float("nan")
GREY = np.full((100, 200, 3), 128, np.uint8)


def drawn(figure: Figure) -> NDArray[np.uint8]:
    stream = BytesIO()
    figure.savefig(stream, dpi=100)
    return np.asarray(Image.open(stream).convert("RGB"))


def amount(picture: NDArray[np.uint8], colour: str) -> int:
    """Pixels of nearly this colour."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.abs(picture.astype(int) - wanted).max(axis=2) < 12).sum())


def test_right_matches_are_green_and_wrong_ones_red() -> None:
    true = [(20.0, 30.0), (150.0, 70.0)]
    right = drawn(match_lines(GREY[:50, :100], GREY, correspondence_answers(true, [(20.5, 30.0), (150.0, 70.0)])))
    wrong = drawn(match_lines(GREY[:50, :100], GREY, correspondence_answers(true, [(150.0, 30.0), (20.0, 70.0)])))
    assert amount(right, RIGHT) > 15 and amount(right, WRONG) == 0
    assert amount(wrong, WRONG) > 100 and amount(wrong, RIGHT) == 0
    assert drawn(match_lines(GREY, GREY, correspondence_answers(true, [(NAN, NAN), (NAN, NAN)]))).size


def test_both_cameras_and_the_answer_are_drawn_as_far_as_they_are_known() -> None:
    turns = [YawPitchRoll(30, 0, 0)]
    table = pose_answers(turns, [YawPitchRoll(-30, 0, 0)])
    picture = drawn(camera_pair(table, 0))
    assert amount(picture, RIGHT) > 100 and amount(picture, WRONG) > 100
    table.predicted_cam1_R_cam2[0] = NAN
    assert amount(drawn(camera_pair(table, 0)), WRONG) == 0


def test_a_box_is_drawn_where_it_is() -> None:
    camera = Camera(200, 100, 100, 100, 99.5, 49.5)
    upright = (1, 0, 0, 0, 1, 0, 0, 0, 1)
    box = Box("chair", (0.5, 0.0, 3.0), (0.6, 0.6, 0.6), upright, (105.0, 38.0, 128.0, 62.0))
    behind = Box("bed", (0.0, 0.0, -3.0), (1.0, 1.0, 1.0), upright, None)
    answers = object_answers([("width", "length", 0.6, 0.7), ("left", "qualitative", 1.0, NAN)])
    figure = boxes_overlay(GREY, camera, [box, behind], answers)
    lines = [np.column_stack(line.get_data()) for line in figure.axes[0].lines]
    assert len(lines) == 13, "twelve edges and the region; nothing of what lies behind the camera"
    points = np.concatenate(lines)
    assert points.min(axis=0) == pytest.approx([105.0, 37.7], abs=1.5)
    assert points.max(axis=0) == pytest.approx([129.1, 62.0], abs=1.5)
    text = figure.axes[1].texts[0].get_text()
    assert "width" in text and "0.70" in text and "nan" in text


def test_accuracy_falls_with_depth_where_answers_do() -> None:
    rng = np.random.default_rng(0)
    true = rng.uniform(1, 20, 400)
    figure = error_by_depth(depth_answers(true.tolist(), np.where(true < 8, true * 1.02, true * 1.6).tolist()))
    shares = figure.axes[0].lines[0].get_ydata()
    errors = figure.axes[1].lines[0].get_ydata()
    assert shares[0] == 1 and shares[-1] == 0 and errors[-1] == pytest.approx(0.6)  # type: ignore[index]
    assert drawn(error_by_depth(depth_answers([2.0] * 9, [NAN] * 9))).size


def test_the_headline_of_a_task_stands_beside_its_baselines() -> None:
    scores = (
        Score("rooms", "depth", "model", "delta1", 0.7, 0.6, 0.8),
        Score("rooms", "depth", "best constant", "delta1", 0.3),
        Score("ibims", "depth", "model", "delta1", 0.5, 0.4, 0.6),
    )
    lengths = Score("kitti", "objects", "model", "quantitative_micro", 0.5, 0.4, 0.6)
    assert score_by_benchmark(Report("m", (), (lengths,)), "objects").axes[0].get_title() == "objects: quantitative"
    figure = score_by_benchmark(Report("m", (), scores), "depth")
    (axes,) = figure.axes
    assert sorted(bar.get_width() for bar in axes.patches) == [0.3, 0.5, 0.7]  # type: ignore[attr-defined]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["rooms", "ibims"]
