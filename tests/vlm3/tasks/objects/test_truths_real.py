"""Truths about real boxes: cars and people on streets, furniture in a room."""

import json
import math
from itertools import permutations
from pathlib import Path

import pytest

from tests.vlm3.tasks.objects.test_truths import truths
from vlm3.asking.object_questions import AnswerForm, ObjectQuestion
from vlm3.scenes.schema import Box
from vlm3.tasks.objects.truths import oriented


@pytest.fixture(params=["boxes_kitti", "boxes_dgp", "boxes_sunrgbd"])
def frames(request: pytest.FixtureRequest, data_dir: Path) -> list[list[Box]]:
    """The boxes of each image of a pack."""
    stated = json.loads((data_dir / request.param / "boxes.json").read_text())
    return [
        [
            Box(
                item["category"],
                tuple(item["center_cam_m"]),
                tuple(item["size_lwh_m"]),
                tuple(value for row in item["R_cam_obj"] for value in row),
                tuple(item["bbox2d"]) if item["bbox2d"] else None,
            )
            for item in frame["objects"]
        ]
        for frame in stated["frames"]
    ]


def test_truths_about_real_objects_agree_with_each_other(frames: list[list[Box]]) -> None:
    asked = 0
    for first, second in (pair for boxes in frames for pair in permutations(boxes, 2)):
        found, back = truths(first, second), truths(second, first)
        asked += len(found)
        apart_m = math.dist(first.center_cam_m, second.center_cam_m)
        reach_m = (math.hypot(*first.size_m) + math.hypot(*second.size_m)) / 2
        if ObjectQuestion.DISTANCE in found:
            assert apart_m - reach_m <= found[ObjectQuestion.DISTANCE] <= apart_m
        for question in (ObjectQuestion.HORIZONTAL_DISTANCE, ObjectQuestion.VERTICAL_DISTANCE):
            assert found.get(question, 0) <= apart_m
        for question, value in found.items():
            if question.form is AnswerForm.YES_NO:
                assert back[question] == 1 - value
    assert asked > 10


def test_what_is_clearly_left_in_space_is_left_in_the_image_at_like_depth(frames: list[list[Box]]) -> None:
    for first, second in (pair for boxes in frames for pair in permutations(boxes, 2)):
        alike = 0.9 < first.center_cam_m[2] / second.center_cam_m[2] < 1.1
        if alike and first.region_px and second.region_px and truths(first, second).get(ObjectQuestion.LEFT):
            assert sum(first.region_px[::2]) < sum(second.region_px[::2])


def test_objects_are_in_front_of_the_camera_and_of_plausible_size(frames: list[list[Box]]) -> None:
    for item in (box for boxes in frames for box in boxes):
        width_m, height_m, depth_m = oriented(item).extents_m
        assert 0.2 < height_m < 5 and 0.2 < width_m < 20 and 0.2 < depth_m < 20
        assert oriented(item).nearest_z_m < item.center_cam_m[2]
