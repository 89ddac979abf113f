"""Tables of answers to figures, by hand."""

import numpy as np
import pytest

from tests.answer_tables import correspondence_answers, depth_answers, object_answers, pose_answers
from vlm3.asking.tables import AnswerTable
from vlm3.evaluation.report import MODEL
from vlm3.evaluation.scoring import per_answer, score
from vlm3.geometry.rotation import YawPitchRoll

NAN = float("nan")
STILL = YawPitchRoll(0, 0, 0)


def figures(table: AnswerTable, by: str = MODEL) -> dict[str, float]:
    return {found.metric: found.value for found in score("set", table, 0) if found.by == by}


def test_depth() -> None:
    table = depth_answers([1.0, 2.0, 4.0, 4.0], [1.1, 4.0, 4.0, NAN])
    found = figures(table)
    assert (found["count"], found["delta1"], found["delta3"], found["unreadable_share"]) == (4, 0.5, 0.5, 0.25)
    assert found["abs_rel"] == pytest.approx((0.1 + 1.0 + 0.0) / 3)
    assert found["z_rmse_m"] == found["ray_rmse_m"] == pytest.approx(np.sqrt((0.01 + 4) / 3))
    assert found["aligned_delta1"] == 0.75, "each image has a scale of its own; an unreadable answer stays wrong"
    assert figures(table, "best constant")["delta1"] == 0.5
    assert per_answer(table)["delta1"].values.tolist() == [1, 0, 1, 0]


def test_correspondence_with_hidden_points() -> None:
    table = correspondence_answers(
        [(0.0, 0.0), (10.0, 10.0), (50.0, 50.0), (NAN, NAN), (NAN, NAN)],
        [(3.0, 4.0), (10.0, 10.0), (NAN, NAN), (NAN, NAN), (7.0, 7.0)],
    )
    found = figures(table)
    diagonal = np.hypot(200, 100)
    assert found["count"] == 3 and found["epe_mean_px"] == pytest.approx((5 + 0 + diagonal) / 3)
    assert (found["pck_2_px"], found["pck_5_px"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    # (3 / 200, 4 / 100) of 1000 is (15, 40).
    assert found["pck_20_normalised"] == pytest.approx(1 / 3)
    assert (found["hidden_found_share"], found["visible_denied_share"]) == (0.5, pytest.approx(1 / 3))
    assert per_answer(table)["end-point error, px"].values.tolist() == pytest.approx([5, 0, diagonal])


def test_pose() -> None:
    found = figures(pose_answers([YawPitchRoll(10, 0, 0), STILL], [STILL, STILL]))
    assert found["rotation_mean_deg"] == pytest.approx(5) and found["direction_mean_deg"] == pytest.approx(0)
    # Errors 0 and 10 of 30 degrees: areas 1 and 2/3, and half a step at the last of the two.
    assert found["auc_30_trapezoid_signed"] == pytest.approx((1 + 2 / 3 + (1 / 3) / 2) / 2)
    assert found["auc_30_trapezoid_signed"] == found["auc_30_trapezoid_unsigned"]
    assert (found["unreadable_share"], found["distance_abs_rel"]) == (0, 0)
    identity = figures(pose_answers([YawPitchRoll(10, 0, 0), STILL], [STILL, STILL]), "identity, forward")
    assert identity["direction_mean_deg"] == pytest.approx(90) and identity["auc_30_trapezoid_signed"] == 0


def test_a_single_image_has_no_interval() -> None:
    def interval(groups: list[str]) -> tuple[float | None, float | None]:
        table = depth_answers([1.0, 2.0, 4.0], [1.1, 4.0, 4.0], groups)
        return next((s.low, s.high) for s in score("set", table, 0) if s.metric == "delta1")

    assert interval(["a"] * 3) == (None, None)
    low, high = interval(["a", "b", "c"])
    assert low is not None and high is not None and low < high


def test_what_was_not_asked_has_no_figures() -> None:
    table = pose_answers([STILL, STILL], [STILL, STILL])
    table.status[:, 2:] = "not asked"
    found = figures(table)
    assert found["rotation_mean_deg"] == 0 and found["unreadable_share"] == 0
    assert not any(name.startswith(("direction", "distance", "auc")) for name in found)
    assert per_answer(table) == {}


def test_scale_is_aligned_image_by_image_also_where_the_scene_is_what_is_drawn() -> None:
    table = depth_answers([1.0, 2.0, 4.0, 5.0], [2.0, 4.0, 2.0, 2.5], ["a", "a", "b", "b"])
    table.group[:] = "scene"
    assert figures(table)["aligned_delta1"] == 1


def test_objects() -> None:
    table = object_answers(
        [
            ("left", "qualitative", 1.0, 1.0),
            ("left", "qualitative", 1.0, 0.0),
            ("tall", "qualitative", 1.0, NAN),
            ("width", "length", 2.0, 2.4),
            ("width", "length", 2.0, 2.6),
            ("direction", "clock", 12.0, 1.0),
        ]
    )
    found = figures(table)
    assert found["qualitative_micro"] == pytest.approx(1 / 3) and found["qualitative_macro"] == 0.25
    assert found["quantitative_micro"] == pytest.approx(2 / 3) and found["quantitative_macro"] == 0.75
    assert found["length_abs_rel"] == pytest.approx(0.25) and found["unreadable_share"] == pytest.approx(1 / 6)
    assert found["category/direction/error_deg"] == 30 and found["category/tall/unreadable_share"] == 1
    assert per_answer(table)["right"].values.tolist() == [1, 0, 0, 1, 0, 1]


@pytest.mark.parametrize(
    "table",
    [
        depth_answers([1.0], [1.0]),
        correspondence_answers([(1.0, 1.0)], [(1.0, 1.0)]),
        pose_answers([STILL], [STILL]),
        object_answers([("left", "qualitative", 1.0, 1.0), ("width", "length", 1.0, 1.0)]),
    ],
    ids=lambda table: table.task,
)
def test_every_headline_is_computed_for_model_and_baselines(table: AnswerTable) -> None:
    scores = score("set", table, 0)
    for by in {found.by for found in scores}:
        assert {column.metric for column in table.headlines} <= {found.metric for found in scores if found.by == by}
    assert len({found.by for found in scores}) > 1
