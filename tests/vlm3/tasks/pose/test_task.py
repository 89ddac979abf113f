"""Pose questions and their answers."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vlm3.asking.templates import load_templates
from vlm3.errors import ConfigError, DataError
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind
from vlm3.geometry.rotation import YawPitchRoll, rotation_angle_deg, rotation_of
from vlm3.scenes.schema import IntrinsicsSource, Scale
from vlm3.tasks.pose.parsing import Direction
from vlm3.tasks.pose.task import PoseQuestion, PoseTask, PoseTaskConfig, direction_words
from vlm3.tasks.pose.templates import PoseTemplates
from vlm3.views.samples import PairSample, Provenance, ViewSample

ANGLES = YawPitchRoll(89.60077227, 2.59868437, 6.07232784)
TURN = st.floats(-179, 179)
METRES = st.floats(-20, 20)


def view(name: str, scale: Scale) -> ViewSample:
    return ViewSample(
        image=np.zeros((64, 96, 3), np.uint8),
        camera=Camera(96, 64, 70, 70, 47.5, 31.5),
        points_px=np.empty((0, 2)),
        depth_m=np.empty(0),
        depth_kind=DepthKind.Z,
        scale=scale,
        boxes=(),
        provenance=Provenance("rooms", "s1", name, IntrinsicsSource.GIVEN),
    )


def pair(moved_m: tuple[float, float, float], angles: YawPitchRoll = ANGLES, scale: Scale = Scale.METRIC) -> PairSample:
    cam1_T_cam2 = np.eye(4)
    cam1_T_cam2[:3, :3], cam1_T_cam2[:3, 3] = rotation_of(angles), moved_m
    nothing = np.empty((0, 2))
    views = (view("f0", scale), view("f1", scale))
    return PairSample(*views, cam1_T_cam2, nothing, nothing, np.empty(0, bool), 0.5)


def answers(task: PoseTask, sample: PairSample, seed: int = 0) -> dict[PoseQuestion, str]:
    """By the question whose wording was used."""
    pose = load_templates(str(task.config.templates)).part(PoseTemplates)
    assert pose is not None
    wordings = {wording: asked for asked in PoseQuestion for wording in getattr(pose, asked).questions}
    said = task.ask(sample, np.random.default_rng(seed))
    assert said.images == 2
    return {wordings[turn.question]: turn.answer for turn in said.turns}


def test_the_vector_of_the_method_is_answered() -> None:
    found = answers(PoseTask(PoseTaskConfig()), pair((-0.6, 0.0, 0.8)))
    assert found == {
        PoseQuestion.ANGLE: "89.7",
        PoseQuestion.TURNS: "yaw 89.6, pitch 2.6, roll 6.1",
        PoseQuestion.DIRECTION: "left, forward (-0.60, 0.00, 0.80)",
        PoseQuestion.DISTANCE: "1.00",
    }


def test_metres_are_asked_for_in_metric_scenes_only() -> None:
    task = PoseTask(PoseTaskConfig())
    found = answers(task, pair((0, 0, 3.0), scale=Scale.RELATIVE))
    assert PoseQuestion.DISTANCE not in found and PoseQuestion.DIRECTION in found
    one_metric = dataclasses.replace(pair((0, 0, 3.0)), view2=view("f1", Scale.RELATIVE))
    assert PoseQuestion.DISTANCE not in answers(task, one_metric)
    with pytest.raises(DataError, match="s1/f0 and s1/f1 answer none of distance"):
        PoseTask(PoseTaskConfig(questions=(PoseQuestion.DISTANCE,))).ask(one_metric, np.random.default_rng(0))


def test_a_camera_that_hardly_moved_has_no_direction() -> None:
    task = PoseTask(PoseTaskConfig())
    assert PoseQuestion.DIRECTION not in answers(task, pair((0.01, 0, 0)))
    assert PoseQuestion.DIRECTION not in answers(task, pair((0, 0, 0), scale=Scale.RELATIVE))
    assert PoseQuestion.DIRECTION in answers(task, pair((0.01, 0, 0), scale=Scale.RELATIVE))
    assert answers(task, pair((0.01, 0, 0)))[PoseQuestion.DISTANCE] == "0.01"


@given(TURN, st.floats(-89, 89), TURN, METRES, METRES, METRES, st.sampled_from(["vlm3-1", "compact-1"]))
def test_answers_read_back_to_the_printed_precision(
    yaw: float, pitch: float, roll: float, x: float, y: float, z: float, templates: str
) -> None:
    angles = YawPitchRoll(yaw, pitch, roll)
    task = PoseTask(PoseTaskConfig(templates=templates))
    for question, answer in answers(task, pair((x, y, z), angles)).items():
        found = task.read(question, answer)
        assert "-0.0," not in answer and "-0.00" not in answer
        if question is PoseQuestion.ANGLE:
            assert found == pytest.approx(rotation_angle_deg(rotation_of(angles)), abs=0.0501)
        elif question is PoseQuestion.TURNS:
            assert found == pytest.approx(angles, abs=0.0501)
        elif question is PoseQuestion.DISTANCE:
            assert found == pytest.approx(np.linalg.norm((x, y, z)), abs=0.00501)
        else:
            assert isinstance(found, Direction)
            assert found.vector == pytest.approx(np.array((x, y, z)) / np.linalg.norm((x, y, z)), abs=0.01)


@pytest.mark.parametrize(
    ("moved", "words"),
    [
        ((1, 0, 0), "right"),
        ((-1, 0, 0), "left"),
        ((0, 1, 0), "down"),
        ((0, -1, 0), "up"),
        ((0, 0, 1), "forward"),
        ((0, 0, -1), "backward"),
        ((-5, 0.5, 5), "left, forward"),
        ((1, -1, -1), "right, up, backward"),
    ],
)
def test_words_are_those_of_opencv_axes_and_leave_out_small_components(
    moved: tuple[float, float, float], words: str
) -> None:
    assert direction_words(np.array(moved)) == words


@given(st.tuples(METRES, METRES, METRES).filter(lambda v: float(np.linalg.norm(v)) > 1e-3))
def test_the_longest_component_is_always_named(moved: tuple[float, float, float]) -> None:
    vector: NDArray[np.float64] = np.array(moved)
    assert direction_words(vector)
    assert direction_words(-vector) != direction_words(vector)


def test_order_and_wordings_vary_with_the_seed() -> None:
    task, sample = PoseTask(PoseTaskConfig()), pair((1, 2, 3))
    firsts = Counter(task.ask(sample, np.random.default_rng(seed)).turns[0].question for seed in range(64))
    assert len(firsts) == 8


def test_a_set_without_pose_wordings_is_refused() -> None:
    bare = load_templates("compact-1").model_copy(update={"pose": None})
    with pytest.raises(ConfigError, match="lacks the field pose"):
        PoseTask(PoseTaskConfig(templates=bare))
