"""Two evaluations of the same questions."""

from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from tests.answer_tables import correspondence_answers, depth_answers, object_answers
from vlm3.asking.tables import AnswerTable, to_arrow
from vlm3.errors import DataError
from vlm3.evaluation.compare import compare, comparison_table, notes

RNG = np.random.default_rng(0)
TRUE = RNG.uniform(1, 9, 200).tolist()


def kept(folder: Path, table: AnswerTable, benchmark: str = "rooms") -> Path:
    (folder / benchmark).mkdir(parents=True, exist_ok=True)
    pq.write_table(to_arrow(table), folder / benchmark / f"{table.task}.parquet")
    return folder


def wrong_at(rows: range) -> list[float]:
    """Answers that are twice the truth in these rows and right in the others."""
    return [true * (2 if row in rows else 1.05) for row, true in enumerate(TRUE)]


def test_a_clear_difference_is_shown_and_a_small_one_is_not(tmp_path: Path) -> None:
    wrong = {"a": range(100), "b": range(20), "c": range(10, 31)}
    a, b, c = (kept(tmp_path / name, depth_answers(TRUE, wrong_at(rows))) for name, rows in wrong.items())
    (found,) = compare(a, b, 0)
    assert (found.benchmark, found.task, found.measure) == ("rooms", "depth", "delta1")
    assert found.b - found.a == pytest.approx(found.found.difference) and found.found.difference == pytest.approx(0.4)
    assert found.found.interval[0] > 0 and found.found.p_value < 0.01
    (small,) = compare(b, c, 0)
    assert small.found.interval[0] <= 0 <= small.found.interval[1]
    console = Console(width=200, record=True, file=StringIO())
    console.print(comparison_table((found, small), "a", "b"))
    text = console.export_text()
    assert "better" in text and "no difference shown" in text


def test_a_single_image_proves_nothing(tmp_path: Path) -> None:
    groups = ["image"] * 200
    a = kept(tmp_path / "a", depth_answers(TRUE, wrong_at(range(200)), groups))
    b = kept(tmp_path / "b", depth_answers(TRUE, wrong_at(range(0)), groups))
    console = Console(width=200, record=True, file=StringIO())
    console.print(comparison_table(compare(a, b, 0), "a", "b"))
    assert "no difference shown" in console.export_text()


def test_less_error_is_better(tmp_path: Path) -> None:
    true = [(float(n), 50.0) for n in range(60)]
    a = kept(tmp_path / "a", correspondence_answers(true, [(x + 20, y) for x, y in true]))
    b = kept(tmp_path / "b", correspondence_answers(true, [(x + 2, y) for x, y in true]))
    found = compare(a, b, 0)
    assert found[0].found.difference == pytest.approx(-18) and not found[0].greater_is_better
    console = Console(width=200, record=True, file=StringIO())
    console.print(comparison_table(found, "a", "b"))
    assert "better" in console.export_text() and "worse" not in console.export_text()


def test_what_was_not_asked_of_one_is_left_out_of_both_and_told(tmp_path: Path) -> None:
    mine, other = depth_answers(TRUE, wrong_at(range(100))), depth_answers(TRUE, wrong_at(range(20)))
    for table, rows in ((mine, slice(0, 12)), (other, slice(6, 18))):
        table.status[rows], table.predicted_m[rows] = "outside", np.nan
    a, b = kept(tmp_path / "a", mine), kept(tmp_path / "b", other)
    (found,) = compare(a, b, 0)
    assert (found.a, found.b) == (pytest.approx(100 / 182), pytest.approx(180 / 182))
    assert [note.partition(": of one")[0] for note in notes((found,))] == ["rooms, depth: not asked: 18 of 200 (9 %)"]
    assert notes(compare(a, a, 0))[0].startswith("rooms, depth: not asked: 12 of 200 (6 %)")
    other.status[:] = "outside"
    with pytest.raises(DataError, match="no question was asked of both a and c"):
        compare(a, kept(tmp_path / "c", other), 0)


def test_what_systems_leave_beside_the_answers_is_no_table(tmp_path: Path) -> None:
    a, b = (kept(tmp_path / name, depth_answers(TRUE, TRUE)) for name in "ab")
    for folder in (a, b):
        (folder / ".DS_Store").write_bytes(b"no table")
        (folder / "rooms" / "._depth.parquet").write_bytes(b"no table")
        (folder / ".Trashes").mkdir()
        (folder / ".Trashes" / "depth.parquet").write_bytes(b"no table")
    (found,) = compare(a, b, 0)
    assert found.benchmark == "rooms" and found.found.difference == 0
    (b / "rooms" / "depth.parquet").unlink()
    with pytest.raises(DataError, match=r"a has rooms/depth, b has none \("):
        compare(a, b, 0)


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    a = kept(tmp_path / "a", depth_answers(TRUE, TRUE))
    with pytest.raises(DataError, match="no such evaluation"):
        compare(a, tmp_path / "none", 0)
    with pytest.raises(DataError, match="no benchmark and task in common"):
        compare(a, kept(tmp_path / "b", depth_answers(TRUE, TRUE), "ibims"), 0)
    with pytest.raises(DataError, match="answer different questions"):
        compare(a, kept(tmp_path / "c", depth_answers(TRUE[1:], TRUE[1:])), 0)
    with pytest.raises(DataError, match="answer different questions"):
        compare(a, kept(tmp_path / "d", depth_answers([2 * true for true in TRUE], TRUE)), 0)
    pairs = [(f"{side}_predicate", "qualitative", 1.0, 1.0) for side in ("left", "above")]
    left, above = (kept(tmp_path / row[0], object_answers([row])) for row in pairs)
    with pytest.raises(DataError, match="answer different questions"):
        compare(left, above, 0)
    (tmp_path / "e" / "rooms").mkdir(parents=True)
    (tmp_path / "e" / "rooms" / "depth.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match="not a table of depth answers"):
        compare(a, tmp_path / "e", 0)
