"""Correspondence and visibility scores against hand-computed cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from vlm3.tasks.correspondence.metrics import (
    PCK_THRESHOLDS,
    CorrespondenceScores,
    Pck,
    VisibilityScores,
    correspondence_scores,
    end_point_error,
    normalised_error,
    visibility_scores,
)

NAN = float("nan")
places = st.lists(st.tuples(*[st.floats(0, 299)] * 4), min_size=1, max_size=20)


def score(
    predicted: list[tuple[float, float]], true: list[tuple[float, float]], **kwargs: object
) -> CorrespondenceScores:
    n = len(true)
    arguments = {"size_px": [(300, 400)] * n, "unreadable": [False] * n, "groups": range(n), "seed": 0} | kwargs
    return correspondence_scores(predicted, true, **arguments)  # type: ignore[arg-type]


def test_scores_of_a_hand_computed_case() -> None:
    # Errors 5 (3, 4), 0, 1, 20 pixels; normalised by 300 × 400: (10, 10) → 14.1, 0, (0, 2.5), (66.7, 0).
    scores = score([(13, 14), (7, 7), (50, 51), (120, 9)], [(10, 10), (7, 7), (50, 50), (100, 9)])
    assert scores.count == 4
    assert scores.epe_mean_px == pytest.approx(26 / 4)
    assert scores.epe_median_px == pytest.approx(3)
    assert scores.pck_px == Pck(at_1=0.5, at_2=0.5, at_5=0.75, at_10=0.75, at_20=1.0)
    assert scores.pck_normalised == Pck(at_1=0.25, at_2=0.25, at_5=0.5, at_10=0.5, at_20=0.75)
    assert scores.unreadable_share == 0.0


def test_the_thresholds_are_those_of_the_fields() -> None:
    assert tuple(int(name.removeprefix("at_")) for name in Pck._fields) == PCK_THRESHOLDS


def test_an_answer_without_a_place_has_the_diagonal_of_its_own_image() -> None:
    scores = score([(NAN, NAN), (NAN, NAN)], [(1, 1), (2, 2)], size_px=[(300, 400), (30, 40)], unreadable=[True, False])
    assert scores.epe_mean_px == pytest.approx((500 + 50) / 2)
    assert scores.pck_px.at_20 == 0.0
    # "not visible" is readable.
    assert scores.unreadable_share == 0.5
    assert normalised_error([(NAN, NAN)], [(1, 1)], [(300, 400)]) == pytest.approx([1000 * np.sqrt(2)])


def test_no_place_is_wrong_even_in_an_image_smaller_than_the_threshold() -> None:
    scores = score([(NAN, NAN)], [(1, 1)], size_px=[(8, 6)])
    assert scores.epe_mean_px == pytest.approx(10)
    assert scores.pck_px == Pck(0, 0, 0, 0, 0)
    assert scores.pck_px_at_10_interval == (0.0, 0.0)


@given(places)
def test_errors_are_distances_and_the_same_both_ways(points: list[tuple[float, float, float, float]]) -> None:
    table = np.array(points)
    size = np.full((len(table), 2), 300.0)
    ours = end_point_error(table[:, :2], table[:, 2:], size)
    assert ours == pytest.approx(np.diag(cdist(table[:, :2], table[:, 2:])), abs=1e-9)
    assert ours == pytest.approx(end_point_error(table[:, 2:], table[:, :2], size))
    # In a square image both errors measure the same, 1000 / 300 apart.
    assert normalised_error(table[:, :2], table[:, 2:], size) == pytest.approx(ours / 0.3)


@given(places)
def test_true_places_as_answers_score_perfectly_and_pck_grows(points: list[tuple[float, float, float, float]]) -> None:
    table = np.array(points)
    perfect = score(table[:, 2:].tolist(), table[:, 2:].tolist())
    assert perfect.epe_mean_px == 0 and perfect.pck_px == Pck(1, 1, 1, 1, 1) == perfect.pck_normalised
    some = score(table[:, :2].tolist(), table[:, 2:].tolist())
    assert list(some.pck_px) == sorted(some.pck_px) and list(some.pck_normalised) == sorted(some.pck_normalised)


def test_intervals_hold_the_figures_and_draw_whole_groups() -> None:
    rng = np.random.default_rng(0)
    true = rng.uniform(0, 300, (200, 2))
    predicted = true + rng.normal(0, 8, (200, 2))
    many = score(predicted.tolist(), true.tolist())
    assert many.epe_mean_interval[0] < many.epe_mean_px < many.epe_mean_interval[1]
    assert many.pck_px_at_10_interval[0] < many.pck_px.at_10 < many.pck_px_at_10_interval[1]
    one = score(predicted.tolist(), true.tolist(), groups=[0] * 200)
    assert one.epe_mean_interval == pytest.approx((one.epe_mean_px, one.epe_mean_px))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"true_px": [(NAN, 1.0)]}, "visibility_scores"),
        ({"size_px": [(0, 10)]}, "sizes positive"),
        ({"unreadable": [True]}, "must have NaN"),
        ({"groups": [0, 1]}, "expected three"),
        ({"predicted_px": [(1.0, 1.0, 1.0)]}, "expected three"),
    ],
)
def test_what_cannot_be_scored_is_refused(changed: dict[str, object], message: str) -> None:
    valid: dict[str, object] = {
        "predicted_px": [(1.0, 1.0)],
        "true_px": [(1.0, 1.0)],
        "size_px": [(10, 10)],
        "unreadable": [False],
        "groups": [0],
    }
    correspondence_scores(**valid, seed=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        correspondence_scores(**(valid | changed), seed=0)  # type: ignore[arg-type]


def visibility(said: list[int], hidden: list[int], unreadable: list[int]) -> VisibilityScores:
    return visibility_scores(said, hidden, unreadable, range(len(said)), seed=0)


def test_visibility_of_a_hand_computed_case() -> None:
    # Hidden: found, missed, unreadable. Visible: denied, seen, seen, unreadable.
    scores = visibility([1, 0, 0, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0, 1])
    assert (scores.hidden_count, scores.visible_count) == (3, 4)
    assert scores.hidden_found_share == pytest.approx(1 / 3)
    assert scores.visible_denied_share == pytest.approx(1 / 4)
    assert scores.unreadable_share == pytest.approx(2 / 7)
    assert scores.hidden_found_interval[0] <= 1 / 3 <= scores.hidden_found_interval[1]
    assert scores.visible_denied_interval[0] <= 1 / 4 <= scores.visible_denied_interval[1]


def test_without_hidden_points_nothing_is_said_about_them() -> None:
    scores = visibility([0, 1], [0, 0], [0, 0])
    assert np.isnan(scores.hidden_found_share) and np.isnan(scores.hidden_found_interval).all()
    assert scores.visible_denied_share == 0.5


def test_an_answer_is_unreadable_or_not_visible_but_not_both() -> None:
    with pytest.raises(ValueError, match="both"):
        visibility([1], [1], [1])
    with pytest.raises(ValueError, match="equal"):
        visibility([], [], [])
