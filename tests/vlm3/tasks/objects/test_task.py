"""Object questions: what is asked, how often, and in which words."""

import pickle
from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.asking.object_questions import AnswerForm, ObjectQuestion
from vlm3.asking.protocol import ParseFailure
from vlm3.asking.templates import load_templates
from vlm3.errors import ConfigError, DataError
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.schema import Box, IntrinsicsSource, Scale
from vlm3.tasks.objects.task import ObjectsTask, ObjectsTaskConfig
from vlm3.tasks.objects.templates import ObjectTemplates
from vlm3.tasks.objects.truths import Ties, answer_value
from vlm3.views.samples import Provenance, ViewSample

Q = ObjectQuestion
WIDTH, HEIGHT = 320, 240
SETS = st.sampled_from(["vlm3-1", "compact-1"])
COMPARISONS = tuple(question for question in Q if question.form in (AnswerForm.YES_NO, AnswerForm.CHOICE))


def boxes(count: int) -> tuple[Box, ...]:
    rng = np.random.default_rng(count)
    found = []
    for index in range(count):
        x, y, z = rng.uniform((-3, -1, 2), (3, 1, 8)).tolist()
        size = tuple(rng.uniform(0.2, 3, 3).tolist())
        left, top = 10.0 + 30 * index, 20.0 + 10 * index
        region_px = (left, top, left + 25, top + 60)
        found.append(Box("thing", (x, y, z), size, (1, 0, 0, 0, 1, 0, 0, 0, 1), region_px))
    return tuple(found)


def sample(seen: tuple[Box, ...], scale: Scale = Scale.METRIC) -> ViewSample:
    return ViewSample(
        image=np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        camera=Camera(WIDTH, HEIGHT, 200, 200, 159.5, 119.5),
        points_px=np.empty((0, 2)),
        depth_m=np.empty(0),
        depth_kind=DepthKind.Z,
        scale=scale,
        boxes=seen,
        provenance=Provenance("rooms", "s1", "f1", IntrinsicsSource.GIVEN),
    )


def task(**config: object) -> ObjectsTask:
    return ObjectsTask(ObjectsTaskConfig(**config))  # type: ignore[arg-type] # as given


@given(st.integers(2, 6), st.integers(1, 40), st.integers(0, 2**32))
def test_each_question_is_asked_in_its_words_and_answered_by_the_geometry(count: int, turns: int, seed: int) -> None:
    objects, seen = task(turns=turns, templates="compact-1"), boxes(count)
    possible = {}
    for question in Q:
        for chosen in permutations(seen, question.objects):
            words = objects.question(question, [box.region_px for box in chosen if box.region_px], (WIDTH, HEIGHT))
            possible[words] = question, answer_value(question, chosen)
    said = objects.ask(sample(seen), np.random.default_rng(seed))
    assert said.images == 1 and 0 < len(said.turns) <= turns
    for turn in said.turns:
        question, value = possible[turn.question]
        assert value is not None
        assert objects.read(question, turn.answer) == pytest.approx(value, abs=0.00501)


def test_regions_are_named_in_the_image_that_the_model_sees() -> None:
    objects, (first, second) = task(), [(10.0, 20.0, 35.0, 80.0), (40.0, 30.0, 320.0, 90.0)]
    # 10 / 320·1000 = 31.25, 20 / 240·1000 = 83.3, 35 / 320·1000 = 109.4, 80 / 240·1000 = 333.3; 1000 becomes 999.
    words = objects.question(Q.LEFT, [first, second], (WIDTH, HEIGHT))
    assert "(31, 83, 109, 333) to the left of the object in box (125, 125, 999, 375)" in words and "0 to 1000" in words
    assert "(31, 83, 109, 333)" in objects.question(Q.WIDTH, [first], (WIDTH, HEIGHT))
    compact = task(templates="compact-1", reference_range=100).question(Q.TALL_CHOICE, [first, second], (WIDTH, HEIGHT))
    assert compact == "which taller, of 100: 03,08,11,33 12,12,99,38"
    with pytest.raises(ValueError, match="argument 2 is longer"):
        objects.question(Q.WIDTH, [first, second], (WIDTH, HEIGHT))


def test_every_kind_is_asked_in_all_its_wordings() -> None:
    templates = load_templates("vlm3-1").part(ObjectTemplates)
    assert templates is not None
    objects, seen = task(turns=20), boxes(5)
    asked: Counter[str] = Counter()
    for seed in range(60):
        for turn in objects.ask(sample(seen), np.random.default_rng(seed)).turns:
            asked[turn.question.translate({ord(digit): None for digit in "0123456789"})] += 1
    # 12 relations in 3 and 2 forms, 6 quantities in 2.
    assert len(asked) == 12 * 3 + 12 * 2 + 6 * 2


def test_kinds_take_turns() -> None:
    objects = task(turns=len(COMPARISONS), questions=COMPARISONS)
    counts = Counter(item.question for item in objects.ask_all(boxes(6), np.random.default_rng(0)))
    assert set(counts) == set(COMPARISONS)


def test_yes_is_as_likely_as_no_and_the_first_region_as_the_second() -> None:
    objects, seen = task(turns=5, questions=COMPARISONS), boxes(4)
    values: dict[AnswerForm, list[float]] = {AnswerForm.YES_NO: [], AnswerForm.CHOICE: []}
    for seed in range(1500):
        for item in objects.ask_all(seen, np.random.default_rng(seed)):
            values[item.question.form].append(item.value)
    # Five standard deviations of a fair coin.
    for form, first in ((AnswerForm.YES_NO, 1.0), (AnswerForm.CHOICE, 1.0)):
        count = len(values[form])
        assert count > 3000
        assert abs(values[form].count(first) - count / 2) < 2.5 * np.sqrt(count)


@given(st.integers(2, 4), st.integers(0, 2**32))
def test_no_answer_gives_another_away(count: int, seed: int) -> None:
    asked = task(turns=64).ask_all(boxes(count), np.random.default_rng(seed))
    subjects = [(item.question.subject, frozenset(item.indices)) for item in asked]
    assert len(set(subjects)) == len(subjects)
    # All that can be asked is: six comparisons, three distances and a direction a pair, two sizes an object.
    assert len(asked) <= 10 * count * (count - 1) / 2 + 2 * count


def test_scenes_without_metres_are_compared_and_not_measured() -> None:
    objects = task(turns=64)
    asked = objects.ask_all(boxes(4), np.random.default_rng(0), Scale.RELATIVE)
    assert {item.question.form for item in asked} == {AnswerForm.YES_NO, AnswerForm.CHOICE, AnswerForm.CLOCK}
    lengths = task(questions=(Q.WIDTH, Q.DISTANCE))
    with pytest.raises(DataError, match=r"rooms/s1/f1: 4 boxes .*relative scale.*none of width_data, distance_data"):
        lengths.ask(sample(boxes(4), Scale.RELATIVE), np.random.default_rng(0))


def test_views_in_which_nothing_is_clear_are_refused_by_name() -> None:
    objects, (one, *_) = task(questions=COMPARISONS), boxes(2)
    for seen in ((), (one,), (one, one)):
        with pytest.raises(DataError, match=f"rooms/s1/f1: {len(seen)} boxes in the unified image, of metric scale"):
            objects.ask(sample(seen), np.random.default_rng(0))


def test_boxes_without_a_region_are_left_out_and_the_others_keep_their_places() -> None:
    seen = boxes(4)
    unnamed = Box("thing", (0, 0, 3), (1, 1, 1), (1, 0, 0, 0, 1, 0, 0, 0, 1), None)
    asked = task(turns=64).ask_all((unnamed, *seen), np.random.default_rng(0))
    assert {index for item in asked for index in item.indices} == {1, 2, 3, 4}


def test_the_same_seed_asks_the_same() -> None:
    objects, seen = pickle.loads(pickle.dumps(task())), sample(boxes(5))
    first, again, other = (objects.ask(seen, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again != other


@given(st.sampled_from(Q), SETS, st.floats(0.1, 200), st.integers(1, 12))
def test_answers_read_back_to_the_printed_precision(question: Q, templates: str, metres: float, number: int) -> None:
    values = {
        AnswerForm.YES_NO: number % 2,
        AnswerForm.CHOICE: 1 + number % 2,
        AnswerForm.CLOCK: number,
        AnswerForm.LENGTH: metres,
    }
    objects, value = task(templates=templates), float(values[question.form])
    allowed = 0.00501 if question.form is AnswerForm.LENGTH else 0
    assert objects.read(question, objects.answer(question, value)) == pytest.approx(value, abs=allowed)


@given(
    st.sampled_from(Q), st.sampled_from(["", "perhaps", "yes no", "region 3", "0 o'clock", "13", "2 or 3 m", "3:00"])
)
def test_junk_is_a_parse_failure(question: Q, answer: str) -> None:
    if (question.form, answer) != (AnswerForm.LENGTH, "13"):
        with pytest.raises(ParseFailure):
            task().read(question, answer)


def test_a_set_without_object_wordings_is_refused() -> None:
    bare = load_templates("compact-1").model_copy(update={"objects": None})
    with pytest.raises(ConfigError, match="lacks the field objects"):
        task(templates=bare)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"questions": []}, "questions"),
        ({"questions": ["lower"]}, "questions"),
        ({"turns": 0}, "turns"),
        ({"reference_range": 1}, "reference_range"),
        ({"ties": {"size_ratio": 0.9}}, "size_ratio"),
        ({"ties": {"clock_deg": 15}}, "clock_deg"),
        ({"turn": 1}, "did you mean 'turns'"),
    ],
)
def test_a_wrong_configuration_is_refused_by_key(data: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        ObjectsTaskConfig.parse(data, "recipe")


def test_a_configuration_is_read_from_plain_data() -> None:
    data = {"questions": ["below_predicate", "direction"], "ties": {"clock_deg": 10.0}}
    config = ObjectsTaskConfig.parse(data, "recipe")
    assert config.questions == (Q.BELOW, Q.DIRECTION) and config.ties == Ties(clock_deg=10.0)
