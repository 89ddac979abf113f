"""Metric tasks of one recipe and their focal lengths."""

import pytest

from vlm3.asking.focals import MetricTask, check_focals
from vlm3.errors import ConfigError
from vlm3.tasks.depth.task import DepthTask, DepthTaskConfig
from vlm3.tasks.pose.task import PoseQuestion, PoseTask, PoseTaskConfig


def test_one_focal_length_needs_no_name() -> None:
    check_focals([])
    check_focals([MetricTask("depth", 1000.0, False)])
    check_focals([MetricTask("depth", 1000.0, False), MetricTask("objects", 1000.0, False)])


def test_several_focal_lengths_need_their_names_in_all_prompts() -> None:
    check_focals([MetricTask("depth", 1000.0, True), MetricTask("pose", 750.0, True)])
    with pytest.raises(
        ConfigError, match=r"depth at 1000 px, pose at 750 px.* questions of depth do not name"
    ) as caught:
        check_focals([MetricTask("depth", 1000.0, False), MetricTask("pose", 750.0, True)])
    assert "one focal_px" in str(caught.value) and "{focal}" in str(caught.value)
    with pytest.raises(ConfigError, match="depth, pose do not name"):
        check_focals([MetricTask("depth", 1000.0, False), MetricTask("pose", 750.0, False)])


def test_the_shipped_sets_name_no_focal_length_and_poses_without_metres_need_none() -> None:
    depth, pose = DepthTask(DepthTaskConfig()), PoseTask(PoseTaskConfig())
    assert not depth.names_focal and not pose.names_focal
    assert PoseTask(PoseTaskConfig(questions=(PoseQuestion.ANGLE,))).names_focal
