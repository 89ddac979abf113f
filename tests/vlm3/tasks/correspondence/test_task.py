"""Correspondence questions and their answers."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.asking.protocol import ParseFailure
from vlm3.asking.templates import load_templates
from vlm3.errors import ConfigError, DataError
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.schema import IntrinsicsSource, Scale
from vlm3.tasks.correspondence.task import NOT_VISIBLE, CorrespondenceTask, CorrespondenceTaskConfig
from vlm3.views.samples import PairSample, Provenance, ViewSample

SIZES = ((96, 64), (128, 80))
"""Width and height of the two views."""


def view(number: int) -> ViewSample:
    width, height = SIZES[number]
    return ViewSample(
        image=np.zeros((height, width, 3), np.uint8),
        camera=Camera(width, height, 70, 70, width / 2, height / 2),
        points_px=np.empty((0, 2)),
        depth_m=np.empty(0),
        depth_kind=DepthKind.Z,
        scale=Scale.RELATIVE,
        boxes=(),
        provenance=Provenance("rooms", "s1", f"f{number}", IntrinsicsSource.GIVEN),
    )


def pair(visible: list[bool]) -> PairSample:
    rng = np.random.default_rng(len(visible))
    points2_px = rng.uniform((0, 0), np.array(SIZES[1]) - 1, (len(visible), 2))
    points2_px[~np.array(visible, bool)] = np.nan
    return PairSample(
        view1=view(0),
        view2=view(1),
        cam1_T_cam2=np.eye(4),
        points1_px=rng.uniform((0, 0), np.array(SIZES[0]) - 1, (len(visible), 2)),
        points2_px=points2_px,
        visible=np.array(visible, bool),
        overlap=0.5,
    )


def named(point_px: np.ndarray, number: int, n: int) -> str:
    return ", ".join(str(round(c / size * n)) for c, size in zip(point_px.tolist(), SIZES[number], strict=True))


def test_questions_name_points_of_view_1_and_answers_where_they_are_in_view_2() -> None:
    sample = pair([True, False, True, True])
    said = CorrespondenceTask(CorrespondenceTaskConfig()).ask(sample, np.random.default_rng(0))
    assert said.images == 2
    expected = {
        f"({named(sample.points1_px[i], 0, 1000)})": f"({named(sample.points2_px[i], 1, 1000)})" for i in (0, 2, 3)
    }
    found = {next(name for name in expected if name in turn.question): turn.answer for turn in said.turns}
    assert found == expected


def test_hidden_points_are_asked_about_only_where_that_is_wanted() -> None:
    sample = pair([True, False, False])
    leave_out, ask = (CorrespondenceTask(CorrespondenceTaskConfig(hidden_points=way)) for way in ("leave out", "ask"))
    assert len(leave_out.ask(sample, np.random.default_rng(0)).turns) == 1
    answers = [turn.answer for turn in ask.ask(sample, np.random.default_rng(0)).turns]
    assert len(answers) == 3 and answers.count(NOT_VISIBLE) == 2
    with pytest.raises(DataError, match="no labelled point of s1/f0 is seen in s1/f1"):
        leave_out.ask(pair([False, False]), np.random.default_rng(0))


@given(st.integers(1, 30), st.integers(1, 20), st.integers(0, 2**32), st.sampled_from(["vlm3-1", "compact-1"]))
def test_answers_read_back_as_what_they_were_made_of(count: int, points: int, seed: int, templates: str) -> None:
    task = CorrespondenceTask(CorrespondenceTaskConfig(points=points, templates=templates))
    sample = pair([True] * count)
    turns = task.ask(sample, np.random.default_rng(seed)).turns
    assert len(turns) == min(count, points)
    names = {tuple(map(int, named(point, 1, 1000).split(", "))) for point in sample.points2_px}
    names = {(min(x, 999), min(y, 999)) for x, y in names}
    assert {task.read(turn.answer) for turn in turns} <= names


@pytest.mark.parametrize(
    ("answer", "value"),
    [("(12, 7)", (12, 7)), (" 12,7 ", (12, 7)), ("(0, 99).", (0, 99)), ("Not visible.", None), (NOT_VISIBLE, None)],
)
def test_one_point_or_none_is_read(answer: str, value: tuple[int, int] | None) -> None:
    assert CorrespondenceTask(CorrespondenceTaskConfig(reference_range=100)).read(answer) == value


@pytest.mark.parametrize(
    "answer",
    ["", "12", "(12, 7", "12, 7)", "(1, 7) or (3, 4)", "(100, 7)", "(-1, 7)", "(1.5, 7)", "x=1, y=7", "(1; 7)", "١,٢"],
)
def test_anything_else_is_a_parse_failure(answer: str) -> None:
    with pytest.raises(ParseFailure):
        CorrespondenceTask(CorrespondenceTaskConfig(reference_range=100)).read(answer)


def test_a_set_without_the_wordings_is_refused_by_name() -> None:
    own = load_templates("vlm3-1").model_copy(update={"name": "mine", "correspondence": None})
    with pytest.raises(ConfigError, match="'mine' lacks the field correspondence"):
        CorrespondenceTask(CorrespondenceTaskConfig(templates=own))


def test_the_same_seed_asks_the_same() -> None:
    task, sample = CorrespondenceTask(CorrespondenceTaskConfig(points=4)), pair([True] * 20)
    first, again, other = (task.ask(sample, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first == again != other
    assert dataclasses.astuple(first)[1] == 2
