"""Depth questions and their answers."""

import dataclasses
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.asking.point_sampling import PointSampling
from vlm3.asking.protocol import ParseFailure
from vlm3.asking.templates import TemplateSet, load_templates
from vlm3.errors import ConfigError, DataError
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.schema import IntrinsicsSource, Scale
from vlm3.tasks.depth.task import DepthTask, DepthTaskConfig
from vlm3.tasks.depth.templates import DepthTemplates
from vlm3.views.samples import Provenance, ViewSample

WIDTH, HEIGHT = 96, 64


def sample(
    count: int, scale: Scale = Scale.METRIC, kind: DepthKind = DepthKind.RAY, width: int = WIDTH, height: int = HEIGHT
) -> ViewSample:
    rng = np.random.default_rng(count)
    return ViewSample(
        image=np.zeros((height, width, 3), np.uint8),
        camera=Camera(width, height, 70, 70, width / 2, height / 2),
        points_px=rng.uniform((0, 0), (width - 1, height - 1), (count, 2)),
        depth_m=np.arange(count) + 0.254,
        depth_kind=kind,
        scale=scale,
        boxes=(),
        provenance=Provenance("rooms", "s1", "f1", IntrinsicsSource.GIVEN),
    )


def test_each_question_names_its_point_and_range_and_each_answer_is_the_bare_value() -> None:
    view = sample(40)
    conversation = DepthTask(DepthTaskConfig()).ask(view, np.random.default_rng(0))
    assert len(conversation.turns) == 10
    assert conversation.images == 1 and conversation.system is None
    for turn in conversation.turns:
        index = round(float(turn.answer) - 0.25)
        assert turn.answer == f"{index}.25"
        x, y = view.points_px[index]
        assert f"({round(x / WIDTH * 2000)}, {round(y / HEIGHT * 2000)})" in turn.question
        assert "2000" in turn.question


def test_a_follow_up_names_only_its_point_and_a_question_asked_alone_says_all() -> None:
    view = sample(40)
    short, full = (
        DepthTask(DepthTaskConfig(reference_range=100, decimals=2, templates=name))
        for name in ("compact-2", "compact-1")
    )
    said, spelt = (task.ask(view, np.random.default_rng(0)).turns for task in (short, full))
    assert [turn.answer for turn in said] == [turn.answer for turn in spelt]
    assert said[0] == spelt[0] and said[0].question.startswith("metres distance, of 100: ")
    for brief, whole in zip(said[1:], spelt[1:], strict=True):
        assert re.fullmatch(r"\d\d,\d\d", brief.question) and whole.question.endswith(f": {brief.question}")
    assert short.question((10.0, 20.0), (WIDTH, HEIGHT), 70) == full.question((10.0, 20.0), (WIDTH, HEIGHT), 70)


@pytest.mark.parametrize("wording", ["{x}", "{x},{y},{z}", "next"])
def test_a_follow_up_that_does_not_name_its_point_is_refused(wording: str) -> None:
    depth = load_templates("compact-1").parts()["depth"] | {"follow_up": wording}
    own = TemplateSet.parse({"name": "own", "version": 1, "system": None, "depth": depth}, "own")
    with pytest.raises(ConfigError, match=r"must use the fields \{x\} \{y\}"):
        DepthTask(DepthTaskConfig(templates=own))


@given(st.integers(1, 30), st.integers(1, 20), st.integers(0, 2**32))
def test_points_are_asked_once_each_as_many_as_there_are(labels: int, points: int, seed: int) -> None:
    task = DepthTask(DepthTaskConfig(points=points))
    answers = [turn.answer for turn in task.ask(sample(labels), np.random.default_rng(seed)).turns]
    assert len(set(answers)) == len(answers) == min(labels, points)


def test_every_label_and_every_wording_is_equally_likely() -> None:
    task, rng = DepthTask(DepthTaskConfig(points=3)), np.random.default_rng(0)
    wordings = load_templates("vlm3-1").part(DepthTemplates).ray
    asked, worded, rounds = np.zeros(12), np.zeros(len(wordings)), 2000
    shapes = [re.compile(re.sub(r"\\{[xyn]\\}", r"\\d+", re.escape(wording))) for wording in wordings]
    for _ in range(rounds):
        for turn in task.ask(sample(12), rng).turns:
            asked[round(float(turn.answer) - 0.25)] += 1
            worded += [bool(shape.fullmatch(turn.question)) for shape in shapes]
    # Five standard deviations of a binomial.
    for counts in (asked, worded):
        share = 1 / len(counts)
        assert np.abs(counts - 3 * rounds * share).max() < 5 * np.sqrt(3 * rounds * share * (1 - share))


def test_the_same_seed_asks_the_same() -> None:
    task = pickle.loads(pickle.dumps(DepthTask(DepthTaskConfig())))
    first, again, other = (task.ask(sample(40), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_the_canonical_question_is_the_first_wording_and_takes_part_in_training() -> None:
    task, view = DepthTask(DepthTaskConfig(templates="compact-1", reference_range=100, decimals=1)), sample(1)
    x, y = view.points_px[0]
    canonical = task.question((x, y), (WIDTH, HEIGHT), 70.0)
    assert canonical == f"metres distance, of 100: {round(x / WIDTH * 100):02d},{round(y / HEIGHT * 100):02d}"
    assert [turn.question for turn in task.ask(view, np.random.default_rng(0)).turns] == [canonical]


def test_questions_say_which_depth_is_meant() -> None:
    ray, z = (
        DepthTask(DepthTaskConfig(depth_kind=kind)).question((1, 1), (10, 10), 70.0)
        for kind in (DepthKind.RAY, DepthKind.Z)
    )
    assert "from the camera" in ray and "optical axis" in z


@pytest.mark.parametrize("decimals", [0, 1, 2, 3, 4])
def test_what_is_answered_can_be_read_back(decimals: int) -> None:
    task, view = DepthTask(DepthTaskConfig(decimals=decimals, points=40)), sample(40)
    read = sorted(task.read(turn.answer) for turn in task.ask(view, np.random.default_rng(0)).turns)
    asked = view.depth_m[view.depth_m > 0.5 * 10**-decimals]
    assert np.abs(np.array(read) - asked).max() <= 0.5 * 10**-decimals + 1e-12, "0 is no depth, and is not taught"
    with pytest.raises(ParseFailure):
        task.read("far away")


def test_scenes_without_metres_and_views_without_labels_are_refused_by_name() -> None:
    task, rng = DepthTask(DepthTaskConfig()), np.random.default_rng(0)
    with pytest.raises(DataError, match=r"rooms/s1/f1: .*metric scale"):
        task.ask(sample(5, Scale.RELATIVE), rng)
    with pytest.raises(DataError, match="rooms/s1/f1: no labelled point"):
        task.ask(sample(0), rng)


def test_labels_of_the_other_depth_kind_are_a_bug() -> None:
    with pytest.raises(ValueError, match="labels are z, the task asks for ray"):
        DepthTask(DepthTaskConfig()).ask(sample(5, kind=DepthKind.Z), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"points": 0}, "points"),
        ({"reference_range": 1}, "reference_range"),
        ({"decimals": 9}, "decimals"),
        ({"depth_kind": "range"}, "depth_kind"),
        ({"sampling": "edges"}, "sampling"),
        ({"decimal": 1}, "did you mean 'decimals'"),
    ],
)
def test_a_wrong_configuration_is_refused_by_key(data: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        DepthTaskConfig.parse(data, "recipe")


def test_a_wording_may_name_the_focal_length_of_its_own_image() -> None:
    shipped = load_templates("vlm3-1")
    named = ("f = {focal} px, {n}: {x} {y}?",)
    own = shipped.model_copy(update={"depth": shipped.parts()["depth"] | {"ray": named}})
    task, view = DepthTask(DepthTaskConfig(templates=own, points=1)), sample(1)
    asked = task.ask(view, np.random.default_rng(0)).turns[0].question
    assert asked == task.question(tuple(view.points_px[0]), (WIDTH, HEIGHT), 70.0) and asked.startswith("f = 70 px, ")
    assert task.question((1, 1), (10, 10), 749.6).startswith("f = 750 px, ")
    assert task.names_focal and not DepthTask(DepthTaskConfig(templates=own, depth_kind=DepthKind.Z)).names_focal


def test_the_sampling_decides_which_points_are_asked_about() -> None:
    view = dataclasses.replace(sample(40), depth_m=np.array([1.0] * 39 + [30.0]))
    config = DepthTaskConfig(points=2, sampling=PointSampling.DEPTH_BALANCED)
    answers = [turn.answer for turn in DepthTask(config).ask(view, np.random.default_rng(0)).turns]
    assert sorted(answers) == ["1.00", "30.00"]
    assert DepthTaskConfig.parse({"sampling": "edge_aware"}, "recipe").sampling is PointSampling.EDGE_AWARE


def test_decimals_that_the_pattern_of_the_set_cannot_read_are_refused() -> None:
    shipped = load_templates("vlm3-1")
    pattern = r"(?P<value>[0-9]+\.[0-9]{2}) m"
    depth = {**shipped.parts()["depth"], "answer": "{metres} m", "pattern": pattern}
    own = TemplateSet.parse({**shipped.model_dump(mode="json"), "name": "own", "depth": depth}, "own")
    assert DepthTask(DepthTaskConfig(templates=own)).read("2.50 m") == 2.5
    with pytest.raises(ConfigError, match=r"decimals: 1: template set 'own' cannot read its own answer '2.0 m'"):
        DepthTask(DepthTaskConfig(templates=own, decimals=1))
