"""The bound on an answer follows from the template set: no answer that a set writes is cut, whatever its words."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.asking.object_questions import AnswerForm, ObjectQuestion
from vlm3.asking.protocol import ParseFailure
from vlm3.asking.templates import THOUGHT_TOKENS, TemplateSet, load_templates
from vlm3.scenes.checks import MAX_DEPTH_M
from vlm3.tasks.correspondence.task import NOT_VISIBLE, CorrespondenceTask, CorrespondenceTaskConfig
from vlm3.tasks.correspondence.templates import CorrespondenceTemplates
from vlm3.tasks.depth.task import DepthTask, DepthTaskConfig
from vlm3.tasks.depth.templates import DepthTemplates
from vlm3.tasks.depth_marker.task import MarkerDepthTask, MarkerDepthTaskConfig
from vlm3.tasks.objects.task import ObjectsTask, ObjectsTaskConfig
from vlm3.tasks.pose.task import PoseQuestion, PoseTask, PoseTaskConfig
from vlm3.tasks.pose.templates import PoseTemplates


def wordy(answer: str, **more: Any) -> TemplateSet:
    """Our full set with another form of depth."""
    plain = load_templates("vlm3-1").model_dump(mode="json")
    plain["depth"] |= {"answer": answer, "pattern": r"is (?P<value>\S+) (?P<unit>[a-z]+) away"}
    return TemplateSet.parse(plain | {"thousands": True} | more, "wordy")


SENTENCE = "As far as one can tell from a single image, that surface is {metres:,.4f} metres away from the camera."
SETS = [load_templates("vlm3-1"), load_templates("compact-1"), wordy(SENTENCE), wordy("Sie ist is {metres} m away, ü")]
ANY_SET = st.sampled_from(SETS)


def ended(answer: str, tokens: int) -> bool:
    """Byte by byte, the most tokens that any tokenizer makes of it, and the end of the turn."""
    return len(answer.encode()) + 1 <= tokens


@given(ANY_SET, st.floats(1e-4, MAX_DEPTH_M), st.integers(0, 4))
def test_no_depth_is_cut(templates: TemplateSet, metres: float, decimals: int) -> None:
    task = DepthTask(DepthTaskConfig(templates=templates, decimals=decimals))
    assert ended(templates.wrap(templates.part(DepthTemplates).format_answer(metres, decimals)), task.answer_tokens)
    marker = MarkerDepthTask(MarkerDepthTaskConfig(templates=templates, decimals=decimals))
    assert marker.answer_tokens == task.answer_tokens


@given(ANY_SET, st.integers(2, 1_000_000))
def test_no_place_is_cut(templates: TemplateSet, n: int) -> None:
    task = CorrespondenceTask(CorrespondenceTaskConfig(templates=templates, reference_range=n))
    place = templates.part(CorrespondenceTemplates).answer.format(x=n - 1, y=n - 1)
    assert ended(place, task.answer_tokens) and ended(NOT_VISIBLE, task.answer_tokens)


@given(ANY_SET, st.floats(-180, 180), st.floats(0, MAX_DEPTH_M))
def test_no_pose_is_cut(templates: TemplateSet, degrees: float, metres: float) -> None:
    tokens, pose = PoseTask(PoseTaskConfig(templates=templates)).answer_tokens, templates.part(PoseTemplates)
    unit = {"words": "right, down, backward", "x": -0.57735, "y": degrees / 181, "z": -0.57735}
    assert ended(pose.angle.answer.format(degrees=degrees), tokens)
    assert ended(pose.turns.answer.format(yaw=degrees, pitch=degrees / 2, roll=degrees), tokens)
    assert ended(pose.direction.answer.format(**unit), tokens)
    assert ended(pose.distance.answer.format(metres=metres), tokens)


@given(ANY_SET, st.sampled_from(ObjectQuestion), st.floats(0, MAX_DEPTH_M))
def test_no_answer_about_objects_is_cut(templates: TemplateSet, question: ObjectQuestion, metres: float) -> None:
    task = ObjectsTask(ObjectsTaskConfig(templates=templates, questions=(ObjectQuestion.LEFT,)))
    value = {AnswerForm.LENGTH: metres, AnswerForm.CLOCK: 12.0}.get(question.form, 1.0)
    assert ended(task.answer(question, value), task.answer_tokens), "published questions are of any kind"


def test_shipped_sets_leave_as_much_room_as_ever_and_not_much_more() -> None:
    for name in ("vlm3-1", "compact-1"):
        assert 16 <= DepthTask(DepthTaskConfig(templates=name)).answer_tokens <= 32
        assert 24 <= CorrespondenceTask(CorrespondenceTaskConfig(templates=name)).answer_tokens <= 40
        assert 60 <= PoseTask(PoseTaskConfig(templates=name)).answer_tokens <= 80
        assert 16 <= ObjectsTask(ObjectsTaskConfig(templates=name)).answer_tokens <= 40


def test_tags_and_thoughts_take_room_of_their_own() -> None:
    plain = load_templates("vlm3-1").model_dump(mode="json")

    def tokens(**tags: list[str]) -> int:
        return DepthTask(DepthTaskConfig(templates=TemplateSet.parse(plain | tags, "tagged"))).answer_tokens

    assert tokens(answer_tags=["<final answer>", "</final answer>"]) >= tokens() + len("<final answer></final answer>")
    assert tokens(think_tags=["<think>", "</think>"]) == tokens() + THOUGHT_TOKENS


def test_a_pattern_may_find_its_groups_in_a_longer_sentence() -> None:
    plain = load_templates("vlm3-1").model_dump(mode="json")
    plain["depth"]["pattern"] = "(?P<value>[0-9.]+)"
    found = DepthTask(DepthTaskConfig(templates=TemplateSet.parse(plain, "searching")))
    said = "Looking at the picture, I should say that it is about 2.45 metres from here, give or take a little"
    assert found.read(said) == 2.45 and ended(said, found.answer_tokens)


@pytest.mark.parametrize("answer", ["-3", "-0.01", "0", "0.00", "2222222222222222", "10000.1", "11 km", "1e300"])
def test_what_no_point_has_is_no_depth(answer: str) -> None:
    depth = DepthTask(DepthTaskConfig())
    marker = MarkerDepthTask(MarkerDepthTaskConfig())
    objects = ObjectsTask(ObjectsTaskConfig())
    for read in (depth.read, marker.read, lambda text: objects.read(ObjectQuestion.WIDTH, text)):
        with pytest.raises(ParseFailure, match=r"expected a length (above|from) 0"):
            read(answer)


def test_touching_things_and_a_camera_that_only_turned_are_0_apart() -> None:
    pose, objects = PoseTask(PoseTaskConfig()), ObjectsTask(ObjectsTaskConfig())
    assert pose.read(PoseQuestion.DISTANCE, "0.00") == objects.read(ObjectQuestion.DISTANCE, "0") == 0
    for answer in ("-3", "2222222222222222"):
        with pytest.raises(ParseFailure, match="expected a length from 0"):
            pose.read(PoseQuestion.DISTANCE, answer)
        with pytest.raises(ParseFailure, match="expected a length from 0"):
            objects.read(ObjectQuestion.HORIZONTAL_DISTANCE, answer)


def test_the_deepest_label_and_the_least_print_of_one_are_read() -> None:
    task = DepthTask(DepthTaskConfig())
    assert [task.read(text) for text in ("0.01", "1000.00", "2000", "10 km")] == [0.01, 1000, 2000, 10_000]
    assert np.isfinite(task.read("9999.99"))
