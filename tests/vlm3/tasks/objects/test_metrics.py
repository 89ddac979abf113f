"""Object scores against hand-computed cases, a loop and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, recall_score

from vlm3.tasks.objects.metrics import (
    ObjectScores,
    QuestionFamily,
    clock_error_deg,
    object_right,
    object_scores,
)

NAN = float("nan")
Q, L, C = QuestionFamily.QUALITATIVE, QuestionFamily.LENGTH, QuestionFamily.CLOCK
hours = st.integers(1, 12)
Row = tuple[str, QuestionFamily, float, float]
"""Category, family, answer, truth."""


def score(rows: list[Row], groups: list[int] | None = None) -> ObjectScores:
    categories, families, predicted, true = (list(column) for column in zip(*rows, strict=True))
    drawn = list(range(len(rows))) if groups is None else groups
    return object_scores(categories, families, predicted=predicted, true=true, groups=drawn, seed=0)


def test_scores_of_a_hand_computed_case() -> None:
    scores = score([
        ("left", Q, 1, 1), ("left", Q, 0, 1), ("left", Q, NAN, 0), ("tall choice", Q, 2, 2),
        ("width", L, 1.2, 1.0), ("width", L, 2.0, 1.0), ("width", L, NAN, 1.0),
        ("height", L, 3.0, 3.0),
        ("direction", C, 12, 1), ("direction", C, 6, 12),
    ])  # fmt: skip
    direction, height, left, tall, width = scores.categories
    assert (left.category, left.family, left.count) == ("left", Q, 3)
    assert (left.right_share, left.unreadable_share) == pytest.approx((1 / 3, 1 / 3))
    assert np.isnan([left.abs_rel, left.clock_error_deg, direction.abs_rel, width.clock_error_deg]).all()
    assert (width.right_share, width.unreadable_share, width.abs_rel) == pytest.approx((1 / 3, 1 / 3, 0.6))
    assert (height.right_share, height.abs_rel, tall.right_share) == (1, 0, 1)
    assert (direction.right_share, direction.clock_error_deg) == (0.5, 105)
    assert (scores.qualitative.count, scores.quantitative.count) == (4, 6)
    assert scores.qualitative.right.micro == pytest.approx(2 / 4)
    assert scores.qualitative.right.macro == pytest.approx((1 / 3 + 1) / 2)
    assert scores.qualitative.unreadable_share == 1 / 4
    assert np.isnan([scores.qualitative.abs_rel.micro, *scores.qualitative.abs_rel.macro_interval]).all()
    assert scores.quantitative.right.micro == pytest.approx(3 / 6)
    assert scores.quantitative.right.macro == pytest.approx((1 / 3 + 1 + 1 / 2) / 3)
    # Over readable lengths: 0.2, 1.0 and 0.0; by category 0.6 and 0.
    assert scores.quantitative.abs_rel.micro == pytest.approx(1.2 / 3)
    assert scores.quantitative.abs_rel.macro == pytest.approx(0.3)


@given(hours, hours)
def test_hours_wrap_round_the_clock(a: int, b: int) -> None:
    error = float(clock_error_deg([a], [b])[0])
    facing = [np.exp(2j * np.pi * hour / 12) for hour in (a, b)]
    assert error == pytest.approx(abs(np.rad2deg(np.angle(facing[0] / facing[1]))), abs=1e-9)
    assert error == clock_error_deg([b], [a])[0]
    assert object_right([C], predicted=[a], true=[b])[0] == (error <= 30)


def test_one_oclock_is_next_to_twelve_and_no_hour_is_wrong() -> None:
    assert object_right([C] * 5, predicted=[12, 11, 13, 0, NAN], true=[1] * 5).tolist() == [
        True,
        False,
        False,
        False,
        False,
    ]
    assert clock_error_deg([13, 0, NAN], [1, 1, 1]).tolist() == pytest.approx([180, 180, NAN], nan_ok=True)


def test_each_family_has_its_own_rule() -> None:
    assert object_right([Q, L, C], predicted=[4, 4, 4], true=[5, 5, 5]).tolist() == [False, True, True]
    assert not object_right([Q, L, C], predicted=[NAN] * 3, true=[5, 5, 5]).any()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40))
def test_averages_equal_those_of_scikit_learn(questions: list[tuple[str, int, int]]) -> None:
    scores = score([(category, Q, predicted, true) for category, predicted, true in questions])
    categories, predicted, true = zip(*questions, strict=True)
    assert scores.qualitative.right.micro == pytest.approx(accuracy_score(true, predicted))
    # Recall of a class is its share of hits: with the category as class, macro recall is the macro average.
    answered = [category if p == t else "wrong" for category, p, t in questions]
    macro = recall_score(categories, answered, labels=sorted(set(categories)), average="macro", zero_division=0)
    assert scores.qualitative.right.macro == pytest.approx(macro)


@given(
    st.lists(st.tuples(st.sampled_from([("width", L), ("direction", C), ("left", Q)]), hours), min_size=1, max_size=20)
)
def test_true_answers_are_all_right(questions: list[tuple[tuple[str, QuestionFamily], int]]) -> None:
    scores = score([(name, family, value, value) for (name, family), value in questions])
    assert all(category.right_share == 1 for category in scores.categories)
    for family in (scores.qualitative, scores.quantitative):
        assert family.right.macro == family.right.micro == 1 or family.count == 0
        assert np.isnan(family.abs_rel.micro) or family.abs_rel.micro == family.abs_rel.macro == 0


def test_macro_weighs_rare_categories_as_much_as_common_ones() -> None:
    rows: list[Row] = [("common", Q, 1, 1)] * 99 + [("rare", Q, 0, 1)]
    right = score(rows).qualitative.right
    assert (right.micro, right.macro) == pytest.approx((0.99, 0.5))
    assert right.micro_interval[1] <= 1 and right.macro_interval == pytest.approx((0.5, 1.0))


def test_intervals_hold_their_figures_and_one_image_leaves_no_doubt() -> None:
    rng = np.random.default_rng(0)
    rows: list[Row] = [
        (("width", "height")[i % 2], L, float(p) if i % 9 else NAN, 1.0)
        for i, p in enumerate(rng.uniform(0.5, 1.5, 300))
    ]
    for averages in (score(rows).quantitative.right, score(rows).quantitative.abs_rel):
        assert averages.micro_interval[0] < averages.micro < averages.micro_interval[1]
        assert averages.macro_interval[0] < averages.macro < averages.macro_interval[1]
    one = score(rows, groups=[0] * 300).quantitative.abs_rel
    assert one.macro_interval == pytest.approx((one.macro, one.macro))


def test_a_family_without_questions_is_empty_not_an_error() -> None:
    family = score([("width", L, 1.0, 1.0)]).qualitative
    assert family.count == 0 and np.isnan([family.unreadable_share, family.right.micro, family.right.macro]).all()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("width", L, 1.0, -1.0)], "not negative"),
        ([("direction", C, 1.0, 0.0)], "from 1 to 12"),
        ([("left", Q, 1.0, NAN)], "finite"),
        ([("width", L, 1.0, 1.0), ("width", C, 1.0, 1.0)], "'width' has questions of families clock, length"),
    ],
)
def test_what_cannot_be_scored_is_refused(rows: list[Row], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(rows)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="2 categories"):
        object_scores(["a", "b"], [Q], predicted=[1], true=[1], groups=[0], seed=0)
