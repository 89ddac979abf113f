"""What became of the questions: counted, told in a line each, and left out of the scores or counted as wrong."""

from dataclasses import replace

import numpy as np
import pytest

from tests.answer_tables import correspondence_answers, depth_answers, object_answers, pose_answers, texts
from vlm3.asking.tables import AnswerTable, share
from vlm3.evaluation.outcomes import Outcome, asked_only, outcome
from vlm3.evaluation.report import MODEL, Report
from vlm3.evaluation.scoring import per_answer, score
from vlm3.geometry.rotation import YawPitchRoll
from vlm3.tasks.correspondence.table import CorrespondenceTable
from vlm3.tasks.depth.table import DepthTable
from vlm3.tasks.objects.table import ObjectTable

NAN = float("nan")
TURN = YawPitchRoll(10, 0, 0)


def figures(table: AnswerTable, by: str = MODEL) -> dict[str, float]:
    return {found.metric: found.value for found in score("set", table, 0) if found.by == by}


def depth(*rows: tuple[float, float, str]) -> DepthTable:
    """True metres, answer and status of each question."""
    table = depth_answers([row[0] for row in rows], [row[1] for row in rows])
    return replace(table, status=texts(*(row[2] for row in rows)))


def test_what_cannot_be_shown_is_not_scored_of_the_model_or_of_a_baseline() -> None:
    shown = [(1.0, 1.1, "ok"), (2.0, NAN, "unreadable"), (4.0, 4.0, "ok")]
    table = depth(*shown, (50.0, NAN, "outside"), (60.0, NAN, "outside"))
    for by in (MODEL, "best constant", "depth of the row"):
        assert figures(table, by) == pytest.approx(figures(depth(*shown), by), nan_ok=True)
    assert figures(table)["count"] == 3 and figures(table)["delta1"] == pytest.approx(2 / 3)
    found = outcome("set", table)
    assert (found.questions, found.not_asked, found.unreadable) == (5, 2, 1)
    assert found.notes()[0].startswith("set, depth: not asked: 2 of 5 (40 %): the lens has no ray there")


def test_places_and_objects_that_cannot_be_shown_are_not_scored() -> None:
    places = correspondence_answers([(0.0, 0.0), (9.0, 9.0), (NAN, NAN)], [(0.0, 0.0), (NAN, NAN), (NAN, NAN)])
    places = replace(places, status=texts("ok", "outside", "outside"))
    assert figures(places)["epe_mean_px"] == 0 and "hidden_found_share" not in figures(places)
    things = object_answers([("width_data", "length", 1.0, 1.0), ("width_data", "length", 1.0, NAN)])
    things = replace(things, status=texts("ok", "outside"))
    assert figures(things)["quantitative_micro"] == 1 and figures(things)["count"] == 1
    for table in (places, things):
        assert isinstance(table, CorrespondenceTable | ObjectTable)
        assert len(per_answer(asked_only(table)).popitem()[1].values) == 1


def test_a_table_of_which_nothing_can_be_shown_has_no_figures() -> None:
    assert score("set", depth((1.0, NAN, "outside")), 0) == ()


@pytest.mark.parametrize("status", ["cut", "refused", "unreadable"])
def test_an_answer_that_is_lost_is_wrong_and_counted_for_whatever_reason(status: str) -> None:
    table = depth((1.0, 1.0, "ok"), (2.0, NAN, status))
    assert (figures(table)["delta1"], figures(table)["unreadable_share"]) == (0.5, 0.5)
    places = correspondence_answers([(0.0, 0.0), (9.0, 9.0)], [(0.0, 0.0), (NAN, NAN)])
    assert figures(replace(places, status=texts("ok", status)))["unreadable_share"] == 0.5
    poses = pose_answers([TURN] * 2, [TURN] * 2)
    poses.status[1, :2] = status
    assert figures(poses)["unreadable_share"] == 0.25
    found = outcome("set", table)
    counts = {"unreadable": found.unreadable, "cut": found.cut, "refused": found.refused}
    assert counts == {"unreadable": 1, "cut": 0, "refused": 0} | {status: 1}
    assert [note.split(":")[1].strip() for note in found.notes()] == [status] * (status != "unreadable")


def test_a_report_tells_each_thing_in_a_line_and_in_numbers() -> None:
    found = Outcome("ibims", "depth", 400, not_asked=12, unreadable=9, cut=5, refused=1)
    report = Report("m", (), (), (found,))
    assert [
        note.partition(": the")[0].partition(": answers")[0].partition(": questions")[0] for note in report.notes()
    ] == [
        "ibims, depth: not asked: 12 of 400 (3 %)",
        "ibims, depth: cut: 5 of 388 (1 %)",
        "ibims, depth: refused: 1 of 388 (<1 %)",
    ]
    assert all(f"* {note}\n" in report.to_markdown() for note in report.notes())
    assert '"not_asked": 12' in report.to_json() and report.metrics()["ibims/depth/refused_count"] == 1
    assert Outcome("ibims", "depth", 400, 0, 9, 0, 0).notes() == [], "unreadable answers have a column of their own"


def test_shares_are_read_at_a_glance() -> None:
    assert [share(*pair) for pair in ((0, 0), (0, 9), (1, 900), (1, 3), (9, 9))] == [
        "0 of 0 (0 %)",
        "0 of 9 (0 %)",
        "1 of 900 (<1 %)",
        "1 of 3 (33 %)",
        "9 of 9 (100 %)",
    ]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (np.diag([1.1, 1.1, 1.1]), "differs from the identity by 0.21"),
        (np.diag([1.0, 1.0, -1.0]), "it mirrors"),
        (np.zeros((3, 3)), "differs from the identity by 1"),
        (np.eye(3) + np.eye(3)[::-1], "differs from the identity"),
    ],
)
def test_a_prediction_that_is_no_rotation_counts_as_unreadable_and_the_reason_is_told(
    wrong: np.ndarray, why: str
) -> None:
    table = pose_answers([TURN] * 3, [TURN] * 3)
    table.predicted_cam1_R_cam2[1] = wrong
    found = figures(table)
    assert found["rotation_unreadable_share"] == pytest.approx(1 / 3) == found["angle_unreadable_share"]
    assert found["rotation_mean_deg"] == pytest.approx(60) and found["unreadable_share"] == pytest.approx(2 / 12)
    assert per_answer(table)["error, degrees"].values == pytest.approx([0, 180, 0], abs=1e-6)
    told = outcome("set", table)
    assert told.unreadable == 2 and "1 of 3 (33 %) predicted rotations are invalid" in told.notes()[0]
    assert why in told.notes()[0] and "pair-1" in told.notes()[0]


def test_rotations_that_were_rounded_stay_and_no_table_is_changed() -> None:
    table = pose_answers([TURN] * 2, [TURN] * 2)
    table.predicted_cam1_R_cam2[0] = np.round(table.predicted_cam1_R_cam2[0], 3)
    assert table.sound() is table and outcome("set", table).notes() == []
    table.predicted_cam1_R_cam2[1] *= 2
    assert table.sound() is not table and (table.status != "unreadable").all()
