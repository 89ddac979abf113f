"""Answers survive their files, to the last bit."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.answer_tables import correspondence_answers, depth_answers, object_answers, pose_answers
from vlm3.asking.tables import AnswerTable, concatenate, from_arrow, take, to_arrow
from vlm3.geometry.rotation import YawPitchRoll

NAN = float("nan")
TABLES: list[AnswerTable] = [
    depth_answers([1.0, 2.5], [1.1, NAN]),
    correspondence_answers([(3.0, 4.0), (NAN, NAN)], [(3.5, 4.25), (NAN, NAN)]),
    pose_answers([YawPitchRoll(10, 20, 30)] * 2, [YawPitchRoll(11, 20, 30)] * 2, metric=False),
    object_answers([("left", "qualitative", 1.0, 0.0), ("width", "length", 2.0, NAN)]),
]


def same(a: AnswerTable, b: AnswerTable) -> bool:
    columns = [(getattr(a, column.name), getattr(b, column.name)) for column in fields(a)]
    return all(x.shape == y.shape and x.dtype == y.dtype and (x.astype(str) == y.astype(str)).all() for x, y in columns)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.task)
def test_written_and_read_back(table: AnswerTable, tmp_path: Path) -> None:
    pq.write_table(to_arrow(table), tmp_path / "answers.parquet")
    assert same(from_arrow(type(table), pq.read_table(tmp_path / "answers.parquet")), table)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.task)
def test_rows_are_taken_and_put_together(table: AnswerTable) -> None:
    first, second = take(table, np.array([True, False])), take(table, np.array([1]))
    assert len(first) == len(second) == 1
    assert same(concatenate([first, second]), table)
    assert not same(concatenate([second, first]), table)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.task)
def test_an_empty_table_keeps_its_shapes(table: AnswerTable) -> None:
    empty = take(table, np.array([False, False]))
    assert same(from_arrow(type(table), to_arrow(empty)), empty) and same(concatenate([empty, table]), table)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.task)
def test_what_pandas_writes_anew_is_the_same_table(table: AnswerTable, tmp_path: Path) -> None:
    frame = to_arrow(table).to_pandas()
    frame = frame.astype({"item": "category", "group": object})[frame.columns[::-1]]
    frame.iloc[::1].set_index(np.arange(5, 5 + len(table))).to_parquet(tmp_path / "answers.parquet")
    assert same(from_arrow(type(table), pq.read_table(tmp_path / "answers.parquet")), table)


def test_a_column_that_holds_something_else_is_named() -> None:
    arrow = to_arrow(TABLES[0])
    for name, cells, message in (
        ("point_px", [1.0, 2.0], "column 'point_px' is of type double"),
        ("item", [[1.0], [2.0]], "column 'item' is of type list<"),
        ("true_m", [["a", "b"], ["c", "d"]], "column 'true_m' is of type list<.*string>"),
        ("status", ["ok", None], "column 'status' lacks 1 of 2 values"),
        ("true_m", [[1.0], [2.0]], "cannot reshape"),
    ):
        with pytest.raises(ValueError, match=message):
            from_arrow(type(TABLES[0]), arrow.drop([name]).append_column(name, pa.array(cells)))


def test_a_missing_column_is_named() -> None:
    with pytest.raises(KeyError, match="predicted_m"):
        from_arrow(type(TABLES[0]), to_arrow(TABLES[0]).drop(["predicted_m"]))
