"""What a set writes it reads, whatever its form: shipped sets, and sets for checkpoints trained elsewhere."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.asking.protocol import ParseFailure
from vlm3.asking.references import reference
from vlm3.asking.templates import TemplateSet, load_templates
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind
from vlm3.geometry.rotation import YawPitchRoll, rotation_angle_deg, rotation_of
from vlm3.scenes.schema import IntrinsicsSource, Scale
from vlm3.tasks.correspondence.task import NOT_VISIBLE, CorrespondenceTask, CorrespondenceTaskConfig
from vlm3.tasks.depth.task import DepthTask, DepthTaskConfig
from vlm3.tasks.pose.parsing import Direction
from vlm3.tasks.pose.task import PoseQuestion, PoseTask, PoseTaskConfig
from vlm3.views.samples import PairSample, Provenance, ViewSample

THINKER = TemplateSet.parse(
    {
        "name": "thinker",
        "version": 1,
        "system": "You measure.",
        "answer_tags": ["<answer>", "</answer>"],
        "think_tags": ["<think>", "</think>"],
        "thousands": True,
        "depth": {
            "ray": ["f = {focal} px: how far is ({x}, {y}) of {n}?"],
            "z": ["f = {focal} px: how deep is ({x}, {y}) of {n}?"],
            "answer": "The point is {metres:,.2f} meters away.",
            "pattern": r"is (?P<value>\S+) (?P<unit>[a-z]+) away",
        },
        "correspondence": {
            "questions": ["Where is {x} {y} of {n}?"],
            "answer": "x={x} y={y}",
            "pattern": r"x ?= ?(?P<x>[0-9]+)[, ]+y ?= ?(?P<y>[0-9]+)",
        },
        "pose": {
            "angle": {"questions": ["Turn?"], "answer": "by {degrees:.1f}", "pattern": r"by (?P<degrees>[0-9.]+)"},
            "turns": {
                "questions": ["Turns?"],
                "answer": "{yaw:.1f}/{pitch:.1f}/{roll:.1f}",
                "pattern": "(?P<yaw>[-0-9.]+)/(?P<pitch>[-0-9.]+)/(?P<roll>[-0-9.]+)",
            },
            "direction": {
                "questions": ["Direction?"],
                "answer": "[{x:.2f} {y:.2f} {z:.2f}] {words}",
                "pattern": r"\[(?P<x>[-0-9.]+) (?P<y>[-0-9.]+) (?P<z>[-0-9.]+)\] (?P<words>[a-z, ]+)",
            },
            "distance": {"questions": ["Moved? f = {focal}"], "answer": "{metres:,.2f} m"},
        },
    },
    "thinker",
)
BOXED = TemplateSet.parse(
    {
        "name": "boxed",
        "version": 1,
        "system": None,
        "answer_tags": ["\\boxed{", "}"],
        "depth": {"ray": ["{x} {y} {n}"], "z": ["{x} {y} {n}"], "answer": "{metres} m"},
        "correspondence": {"questions": ["{x} {y} {n}"], "answer": "({x},{y})"},
        "pose": {
            "angle": {"questions": ["?"], "answer": "{degrees:.1f} degrees"},
            "turns": {"questions": ["?"], "answer": "Yaw: {yaw:.1f}, Pitch: {pitch:.1f}, Roll: {roll:.1f}"},
            "direction": {"questions": ["?"], "answer": "({x:.2f}, {y:.2f}, {z:.2f})"},
            "distance": {"questions": ["?"], "answer": "{metres:.2f} metres"},
        },
    },
    "boxed",
)
SETS = [load_templates("vlm3-1"), load_templates("compact-1"), THINKER, BOXED]
ANY_SET = st.sampled_from(SETS)
PLACE = st.floats(0, 1)
HALF = 0.5 + 1e-6
"""Of the last printed digit."""


def view(depth_m: list[float], points_px: Any = None, scale: Scale = Scale.METRIC) -> ViewSample:
    return ViewSample(
        image=np.zeros((64, 96, 3), np.uint8),
        camera=Camera(96, 64, 70.4, 70.4, 47.5, 31.5),
        points_px=np.zeros((len(depth_m), 2)) if points_px is None else points_px,
        depth_m=np.array(depth_m),
        depth_kind=DepthKind.RAY,
        scale=scale,
        boxes=(),
        provenance=Provenance("rooms", "s1", "f1", IntrinsicsSource.GIVEN),
    )


def pair(moved_m: tuple[float, float, float], angles: YawPitchRoll, points2_px: Any, visible: Any) -> PairSample:
    cam1_T_cam2 = np.eye(4)
    cam1_T_cam2[:3, :3], cam1_T_cam2[:3, 3] = rotation_of(angles), moved_m
    return PairSample(view([]), view([]), cam1_T_cam2, np.zeros((len(visible), 2)), points2_px, visible, 0.5)


@given(ANY_SET, st.floats(0.006, 1000), st.integers(0, 2**32))
def test_depth(templates: TemplateSet, depth_m: float, seed: int) -> None:
    task = DepthTask(DepthTaskConfig(templates=templates))
    (turn,) = task.ask(view([depth_m]), np.random.default_rng(seed)).turns
    assert abs(task.read(turn.answer) - depth_m) <= HALF / 100
    assert ("70 px" in turn.question) is task.names_focal is (templates is THINKER)


@given(ANY_SET, PLACE, PLACE, st.booleans())
def test_correspondence(templates: TemplateSet, u: float, v: float, seen: bool) -> None:
    task = CorrespondenceTask(CorrespondenceTaskConfig(templates=templates, hidden_points="ask"))
    point_px = (95 * u, 63 * v)
    sample = pair((0, 0, 1), YawPitchRoll(0, 0, 0), np.array([point_px]), np.array([seen]))
    (turn,) = task.ask(sample, np.random.default_rng(0)).turns
    expected = (reference(point_px[0], 96, 1000), reference(point_px[1], 64, 1000))
    assert task.read(turn.answer) == (expected if seen else None)
    assert seen or turn.answer == templates.wrap(NOT_VISIBLE)


@given(
    ANY_SET,
    st.tuples(st.floats(-179, 179), st.floats(-89, 89), st.floats(-179, 179)),
    st.tuples(*[st.floats(-2000, 2000)] * 3).filter(lambda moved: float(np.linalg.norm(moved)) > 0.1),
)
def test_pose(templates: TemplateSet, turns: tuple[float, float, float], moved_m: tuple[float, float, float]) -> None:
    angles = YawPitchRoll(*turns)
    for question in PoseQuestion:
        task = PoseTask(PoseTaskConfig(templates=templates, questions=(question,)))
        sample = pair(moved_m, angles, np.empty((0, 2)), np.empty(0, bool))
        (turn,) = task.ask(sample, np.random.default_rng(0)).turns
        found = task.read(question, turn.answer)
        match question:
            case PoseQuestion.ANGLE:
                assert found == pytest.approx(rotation_angle_deg(rotation_of(angles)), abs=HALF / 10)
            case PoseQuestion.TURNS:
                assert found == pytest.approx(angles, abs=HALF / 10)
            case PoseQuestion.DISTANCE:
                assert found == pytest.approx(np.linalg.norm(moved_m), abs=HALF / 100)
                assert ("f = 70" in turn.question) is task.names_focal is (templates is THINKER)
            case PoseQuestion.DIRECTION:
                assert isinstance(found, Direction) and bool(found.words) is (templates is not BOXED)
                assert np.dot(found.vector, moved_m) / np.linalg.norm(moved_m) > 0.9999


@given(st.text(st.characters(exclude_characters="<>", exclude_categories=["Cs"])))
def test_thinking_is_never_read(thought: str) -> None:
    task = DepthTask(DepthTaskConfig(templates=THINKER))
    answer = "<answer>The point is 2.50 meters away.</answer>"
    assert task.read(f"<think>{thought} The point is 3 m away. <answer>4</answer></think>\n{answer}") == 2.5
    with pytest.raises(ParseFailure):
        task.read(f"<think>{thought}{answer}")


@pytest.mark.parametrize(
    ("templates", "answer"),
    [
        (THINKER, "The point is 2.50 meters away."),
        (THINKER, "<answer>The point is 2.50 meters away, or is 3.00 meters away.</answer>"),
        (THINKER, "<answer>The point is 2.50 furlongs away.</answer>"),
        (THINKER, "<answer>The point is 12,50 meters away.</answer>"),
        (THINKER, "<answer>The point is two meters away.</answer>"),
        (THINKER, "<answer>2.50</answer>"),
        (THINKER, "<answer>The point is 2 meters away</answer><answer>The point is 3 meters away</answer>"),
        (BOXED, "2.5 m"),
        (BOXED, "\\boxed{2.5 m or 3 m}"),
        (BOXED, "\\boxed{1,234 m}"),
        (BOXED, "\\boxed{2.5} or \\boxed{3}"),
        (SETS[0], "<answer>2.5</answer>"),
        (SETS[0], "1,234"),
    ],
)
def test_what_is_not_one_depth_in_the_form_of_the_set_is_a_failure(templates: TemplateSet, answer: str) -> None:
    with pytest.raises(ParseFailure):
        DepthTask(DepthTaskConfig(templates=templates)).read(answer)


@pytest.mark.parametrize(
    "answer", ["12, 7", "x=12 y=7 or x=3 y=4", "x=1000 y=7", "x=12345678 y=7", "x=1.5 y=7", "x=1 y=7.5"]
)
def test_what_is_not_one_place_in_the_form_of_the_set_is_a_failure(answer: str) -> None:
    task = CorrespondenceTask(CorrespondenceTaskConfig(templates=THINKER))
    assert task.read("<answer>So: x = 12, y = 7</answer>") == (12, 7)
    with pytest.raises(ParseFailure):
        task.read(THINKER.wrap(answer))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (PoseQuestion.ANGLE, "by 12 or by 13"),
        (PoseQuestion.ANGLE, "by 1.2.3"),
        (PoseQuestion.TURNS, "1/2"),
        (PoseQuestion.TURNS, "1/2/3/4"),
        (PoseQuestion.TURNS, "1/-/3"),
        (PoseQuestion.DIRECTION, "[1 0 0] left"),
        (PoseQuestion.DIRECTION, "[0 0 0] left"),
        (PoseQuestion.DIRECTION, "[1 0 0] north"),
        (PoseQuestion.DIRECTION, "[1 0 0] right, left"),
        (PoseQuestion.DISTANCE, "2 m or 3 m"),
    ],
)
def test_what_is_not_one_motion_in_the_form_of_the_set_is_a_failure(question: PoseQuestion, answer: str) -> None:
    with pytest.raises(ParseFailure):
        PoseTask(PoseTaskConfig(templates=THINKER)).read(question, THINKER.wrap(answer))
