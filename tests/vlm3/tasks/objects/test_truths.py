"""What is true of two objects: vectors worked out by hand, ties, and what must hold for all boxes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vlm3.asking.object_questions import AnswerForm, ObjectQuestion, Relation
from vlm3.scenes.schema import Box, Scale
from vlm3.tasks.objects.truths import DEFAULT_TIES, Ties, answer_value

Q = ObjectQuestion
Vector = tuple[float, float, float]
Region = tuple[float, float, float, float]
LEFT_HALF, RIGHT_HALF = (0.0, 0.0, 40.0, 60.0), (50.0, 0.0, 90.0, 60.0)
OPPOSITE = {"below": "above", "left": "right", "big": "small", "tall": "short", "wide": "thin", "behind": "front"}
PREDICATES = [question for question in Q if question.form is AnswerForm.YES_NO]
BOXES = st.builds(
    lambda x, y, z, size, spin: box((x, y, z), size, spin),
    st.floats(-5, 5),
    st.floats(-2, 2),
    st.floats(2, 20),
    st.tuples(*[st.floats(0.1, 4)] * 3),
    st.tuples(*[st.floats(-3, 3)] * 3),
)


def box(center: Vector, size: Vector, spin: Vector = (0, 0, 0), region_px: Region | None = None) -> Box:
    axes = Rotation.from_rotvec(spin).as_matrix().ravel().tolist()
    return Box("thing", center, size, tuple(axes), region_px)


def test_questions_are_the_categories_of_the_benchmark() -> None:
    forms = [question.form for question in Q]
    assert [forms.count(form) for form in AnswerForm] == [12, 12, 5, 1]
    for relation in Relation:
        assert Q(f"{relation}_predicate").relation is Q(f"{relation}_choice").relation is relation
    others = {question.value for question in Q if question.form in (AnswerForm.LENGTH, AnswerForm.CLOCK)}
    assert others == {
        "distance_data",
        "horizontal_distance_data",
        "vertical_distance_data",
        "width_data",
        "height_data",
        "direction",
    }
    assert [question.objects for question in (Q.WIDTH, Q.HEIGHT, Q.DISTANCE, Q.BIG)] == [1, 1, 2, 2]


def test_distances_of_centres_and_of_nearest_points() -> None:
    # Centres (1, −0.5, 6) and (−1.5, 0.7, 3): |Δx| = 2.5, |Δy| = 0.7 + 0.5 = 1.2.
    # Halves 0.25 and 0.5 in all axes: gaps x 2.5 − 0.75 = 1.75, y 1.2 − 0.75 = 0.45, z 3 − 0.75 = 2.25,
    # so √(1.75² + 0.45² + 2.25²) = √8.3275 = 2.885741.
    pair = box((1, -0.5, 6), (0.5, 0.5, 0.5)), box((-1.5, 0.7, 3), (1, 1, 1))
    assert answer_value(Q.HORIZONTAL_DISTANCE, pair) == pytest.approx(2.5)
    assert answer_value(Q.VERTICAL_DISTANCE, pair) == pytest.approx(1.2)
    assert answer_value(Q.DISTANCE, pair) == pytest.approx(2.885741, abs=1e-6)


def test_sizes_are_those_that_the_camera_sees() -> None:
    # 4 × 1.5 × 2 turned by 30° about y: 4·cos 30° + 2·sin 30° = 4.464102 wide, 1.5 tall.
    turned = box((0, 0, 10), (4, 1.5, 2), (0, math.pi / 6, 0))
    assert answer_value(Q.WIDTH, [turned]) == pytest.approx(4.464102, abs=1e-6)
    assert answer_value(Q.HEIGHT, [turned]) == pytest.approx(1.5)
    # Beside one of 4 × 1.5 × 2 as it is: 4.46 / 4 = 1.12 is no clear difference in width, but the volumes are
    # 4.464102·1.5·3.732051 = 24.990 and 12.
    straight = box((8, 0, 10), (4, 1.5, 2))
    assert answer_value(Q.WIDE, (turned, straight)) is None
    assert answer_value(Q.BIG, (turned, straight)) == 1


def test_behind_and_front_go_by_the_nearest_z_not_by_the_centre() -> None:
    # A van with its centre at 10 and 8 long begins at 6; a sign with its centre at 8 and 1 deep begins at 7.5.
    van, sign = box((-2, 0, 10), (2, 2, 8)), box((2, 0, 8), (1, 1, 1))
    assert answer_value(Q.FRONT, (van, sign)) == answer_value(Q.BEHIND, (sign, van)) == 1
    assert answer_value(Q.BEHIND, (van, sign)) == answer_value(Q.FRONT, (sign, van)) == 0
    assert answer_value(Q.FRONT_CHOICE, (van, sign)) == 1 and answer_value(Q.FRONT_CHOICE, (sign, van)) == 2


def test_the_hour_is_the_way_from_the_first_to_the_second() -> None:
    # From (0, 4) to (2, 4 + 2·√3) in x and z: atan2(2, 3.4641) = 30°, 1 o'clock; back: 210°, 7 o'clock.
    near, far = box((0, 1, 4), (1, 1, 1)), box((2, -1, 4 + 2 * math.sqrt(3)), (1, 1, 1))
    assert answer_value(Q.DIRECTION, (near, far)) == 1
    assert answer_value(Q.DIRECTION, (far, near)) == 7


def truths(
    first: Box, second: Box, scale: Scale = Scale.METRIC, ties: Ties = DEFAULT_TIES
) -> dict[ObjectQuestion, float]:
    """Everything that can be asked about two boxes in this order (width and height: of the first), with its answer."""
    answers = {
        question: answer_value(question, (first, second)[: question.objects], scale, ties)
        for question in ObjectQuestion
    }
    return {question: value for question, value in answers.items() if value is not None}


def test_all_that_is_true_of_a_low_wide_and_a_high_thin_object() -> None:
    table, lamp = box((-1, 0.5, 3), (2, 0.8, 1)), box((1, -0.5, 5), (0.3, 1.2, 0.3))
    found = truths(table, lamp)
    yes = {question for question in PREDICATES if found[question] == 1}
    assert yes == {Q.BELOW, Q.LEFT, Q.BIG, Q.SHORT, Q.WIDE, Q.FRONT}
    assert found[Q.WIDTH] == 2 and found[Q.HEIGHT] == 0.8 and len(found) == len(Q) - 1
    # 45°, on the border between 1 and 2 o'clock, is asked of nobody.
    assert Q.DIRECTION not in found


@pytest.mark.parametrize(
    ("question", "second", "told_apart"),
    [
        # The first is a cube of 1 m at (0, 0, 4); 5 % of some 4 m is 0.2 m.
        (Q.LEFT, box((0.19, 1, 4), (1, 1, 1)), False),
        (Q.LEFT, box((0.25, 1, 4), (1, 1, 1)), True),
        (Q.BELOW, box((1, 0.19, 4), (1, 1, 1)), False),
        (Q.ABOVE_CHOICE, box((1, -0.25, 4), (1, 1, 1)), True),
        (Q.BEHIND, box((1, 0, 4.5), (1, 1, 1.9)), False),
        (Q.BEHIND, box((1, 0, 4.5), (1, 1, 1.4)), True),
        (Q.TALL, box((1, 0, 4), (1, 1.19, 1)), False),
        (Q.TALL, box((1, 0, 4), (1, 1.21, 1)), True),
        (Q.SMALL, box((1, 0, 4), (1.06, 1.06, 1.06)), False),
        (Q.SMALL_CHOICE, box((1, 0, 4), (1.07, 1.07, 1.07)), True),
        (Q.DISTANCE, box((1.09, 0, 4), (1, 1, 1)), False),
        (Q.DISTANCE, box((1.11, 0, 4), (1, 1, 1)), True),
        (Q.DIRECTION, box((0.1, 2, 4), (1, 1, 1)), False),
        (Q.DIRECTION, box((1, 0, 4 + math.tan(math.radians(9))), (1, 1, 1)), True),
        (Q.DIRECTION, box((1, 0, 4 + math.tan(math.radians(11))), (1, 1, 1)), False),
    ],
)
def test_what_is_too_close_to_call_is_not_asked(question: Q, second: Box, told_apart: bool) -> None:
    assert (answer_value(question, (box((0, 0, 4), (1, 1, 1)), second)) is not None) is told_apart


def test_differences_need_more_metres_farther_away() -> None:
    near, far = ((box((0, 0, z), (1, 1, 1)), box((1, 0, z), (1, 1, 1))) for z in (4, 40))
    assert answer_value(Q.RIGHT, near) == 0 and answer_value(Q.RIGHT, far) is None
    assert answer_value(Q.RIGHT, far, ties=Ties(position_share=0)) == 0


def test_lengths_need_metres_and_comparisons_do_not() -> None:
    tiny = box((0, 0, 0.4), (0.01, 0.02, 0.01)), box((0.05, 0.05, 0.3), (0.02, 0.01, 0.01))
    assert answer_value(Q.LEFT, tiny) is None and answer_value(Q.LEFT, tiny, Scale.RELATIVE) == 1
    metric = box((0, 0, 4), (1, 1, 1)), box((2, 2, 4), (1, 1, 1))
    lost = set(truths(*metric)) - set(truths(*metric, scale=Scale.RELATIVE))
    assert lost == {question for question in Q if question.form is AnswerForm.LENGTH}


def test_objects_that_nearly_share_a_region_are_not_compared() -> None:
    first = box((0, 0, 4), (1, 1, 1), region_px=(0, 0, 40, 60))
    # Intersection over union: 39·60 / (40·60 + 41·60 − 39·60) = 39 / 42 = 0.93, and 30 / 50 = 0.6.
    same, other = (box((2, 2, 8), (2, 2, 2), region_px=(x, 0, x + 40, 60)) for x in (1, 10))
    assert answer_value(Q.LEFT, (first, same)) is None and answer_value(Q.LEFT, (first, other)) == 1
    assert answer_value(Q.WIDTH, [first]) == 1


def test_the_wrong_number_of_boxes_is_a_bug() -> None:
    with pytest.raises(ValueError, match="width_data is about 1 boxes, got 2"):
        answer_value(Q.WIDTH, [box((0, 0, 4), (1, 1, 1))] * 2)


@given(BOXES, BOXES, st.sampled_from(Scale))
def test_the_other_order_turns_every_answer_around(first: Box, second: Box, scale: Scale) -> None:
    there, back = truths(first, second, scale), truths(second, first, scale)
    for question in set(Q) - {Q.WIDTH, Q.HEIGHT}:
        assert (question in there) == (question in back)
    for question in there.keys() - {Q.WIDTH, Q.HEIGHT}:
        match question.form:
            case AnswerForm.YES_NO:
                assert there[question] + back[question] == 1
                assert there[Q(f"{question.relation}_choice")] == 2 - there[question]
            case AnswerForm.CHOICE:
                assert there[question] + back[question] == 3
            case AnswerForm.CLOCK:
                assert (there[question] + 6) % 12 == back[question] % 12
            case AnswerForm.LENGTH:
                assert there[question] == pytest.approx(back[question], abs=1e-9)
    for one, other in OPPOSITE.items():
        assert there.get(Q(f"{one}_predicate")) == back.get(Q(f"{other}_predicate"))
