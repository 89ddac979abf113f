"""A file of predictions says the same whichever types its writer chose; what says something else is refused by name."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.errors import DataError
from vlm3.evaluation.prediction_columns import text, whole_number
from vlm3.evaluation.predictions import PredictionFile
from vlm3.geometry.depth import DepthKind

MAP = [1.0, 2.5, 3.0, 4.0, 5.0, 6.0]
ROWS = {
    "item": ["a/0", "a/0-1", "a/2"],
    "task": ["depth", "correspondence", "depth"],
    "values": [MAP, [7.0, 8.0], None],
    "height": [2, None, None],
    "width": [3, None, None],
    "kind": ["z", None, "ray"],
}
"""A dense map, a listed place, and an item without a prediction."""


def written(folder: Path, **columns: Any) -> PredictionFile:
    pq.write_table(pa.table(columns), folder / "p.parquet")
    return PredictionFile.open(folder / "p.parquet")


def values_as(convert: Callable[[list[float]], Any], nothing: Any = None) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Another way to hold the values."""
    return lambda frame: frame.assign(values=[nothing if v is None else convert(v) for v in ROWS["values"]])


def kinds(*names: str, kind: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: frame.astype(dict.fromkeys(names, kind))


WRITERS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "as it is": lambda frame: frame,
    "with a row index": lambda frame: frame.iloc[::-1],
    "with an index read from text": lambda frame: frame.assign(**{"Unnamed: 0": range(3)}),
    "with named indices": lambda frame: frame.set_index(["item", "task"]),
    "in another order": lambda frame: frame[frame.columns[::-1]],
    "categories": kinds("item", "task", "kind", "height", "width", kind="category"),
    "nullable integers": kinds("height", "width", kind="Int64"),
    "small floats": kinds("height", "width", kind="float32"),
    "objects": kinds(*ROWS, kind=object),
    "types of arrow": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
    "best types": lambda frame: frame.convert_dtypes(),
    "decimals": lambda frame: frame.assign(height=[Decimal("2.0"), None, None], width=[Decimal(3), None, None]),
    "arrays": values_as(np.array),
    "small arrays": values_as(lambda values: np.array(values, np.float32)),
    "missing as NaN": values_as(np.array, np.nan),
    "tuples": values_as(tuple),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_what_pandas_writes_says_the_same(tmp_path: Path, writer: str) -> None:
    path = tmp_path / "predictions.parquet"
    WRITERS[writer](pd.DataFrame(ROWS)).to_parquet(path)
    file = PredictionFile.open(path)
    dense, listed, missing = (file.find(*key) for key in zip(ROWS["item"], ROWS["task"], strict=True))
    assert dense.values.tolist() == MAP and dense.size == (2, 3) and dense.kind is DepthKind.Z
    assert listed.values.tolist() == [7.0, 8.0] and listed.size is None and listed.kind is None
    assert not len(missing.values) and missing.kind is DepthKind.RAY


@pytest.mark.parametrize("kind", [pa.float16(), pa.int8(), pa.uint64(), pa.decimal128(6, 2), pa.bool_()])
def test_numbers_of_any_type_are_numbers(tmp_path: Path, kind: pa.DataType) -> None:
    for lists in (pa.list_, pa.large_list, lambda each: pa.list_(each, 3)):
        cells = pa.array([[1, 0, None], [1, 1, 1]], pa.list_(pa.int8())).cast(pa.list_(kind)).to_pylist()
        file = written(tmp_path, item=["a", "b"], task=["objects"] * 2, values=pa.array(cells, lists(kind)))
        for item, numbers in (("a", [1.0, 0.0, np.nan]), ("b", [1.0, 1.0, 1.0])):
            assert np.array_equal(file.find(item, "objects").values, numbers, equal_nan=True)


def test_what_parquet_itself_cannot_read_is_said_to_be_so(tmp_path: Path) -> None:
    # Arrow writes a missing list of fixed size, and does not read it.
    values = pa.array([[1.0], None], pa.list_(pa.float64(), 1))
    file = written(tmp_path, item=["a", "b"], task=["depth"] * 2, values=values)
    with pytest.raises(DataError, match=r"p.parquet: values of row group 0 cannot be read: .*size=1"):
        file.find("a", "depth")


def test_columns_without_anything_in_them_say_nothing(tmp_path: Path) -> None:
    frame = pd.DataFrame({"item": ["a"], "task": ["depth"], "values": [[1.0]], "height": [np.nan], "width": [None]})
    frame["kind"] = np.nan
    frame.to_parquet(tmp_path / "p.parquet")
    found = PredictionFile.open(tmp_path / "p.parquet").find("a", "depth")
    assert found.size is None and found.kind is None


@pytest.mark.parametrize("names", [[3, 12], [3.0, 12.0], ["3", "12"]])
def test_names_that_look_like_numbers_are_names(tmp_path: Path, names: list[Any]) -> None:
    pd.DataFrame({"item": names, "task": "depth", "values": [[1.0], [2.0]]}).to_parquet(tmp_path / "p.parquet")
    assert PredictionFile.open(tmp_path / "p.parquet").find("12", "depth").values.tolist() == [2.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": [2.5, 2]}, r"p.parquet: row 0: column 'height': expected a whole number, found 2.5$"),
        ({"height": [np.inf, 2]}, "row 0: column 'height': expected a whole number, found inf"),
        ({"width": [True, False]}, "row 0: column 'width': expected a whole number, found True"),
        ({"width": ["32", "32"]}, "row 0: column 'width': expected a whole number, found '32'"),
        ({"item": ["a", None]}, "row 1: column 'item': expected the name of an item, found none"),
        ({"item": ["a", np.nan]}, "row 1: column 'item': expected the name of an item, found none"),
        ({"item": [0.5, 1.5]}, "row 0: column 'item': expected text, found 0.5"),
        ({"kind": [b"z", b"z"]}, "row 0: column 'kind': expected text, found b'z'"),
        (
            {"values": ["[1.0]", "[2.0]"]},
            r"column 'values' is of type \w*string, expected lists of numbers, row by row$",
        ),
        ({"values": [1.0, 2.0]}, "column 'values' is of type double, expected lists of numbers"),
        ({"values": [[[1.0]], [[2.0]]]}, "column 'values' is of type list<.*list<.*, expected lists of numbers"),
        ({"values": [["1"], ["2"]]}, "column 'values' is of type list<.*string>, expected lists of numbers"),
        ({"values": [[True], [False]]}, "column 'values': expected numbers, found true or false"),
    ],
)
def test_what_says_something_else_is_refused_by_name(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    good = {"item": ["a", "b"], "task": ["depth", "depth"], "values": [[1.0], [2.0]]}
    pd.DataFrame(good | change).to_parquet(tmp_path / "p.parquet")
    with pytest.raises(DataError, match=message):
        PredictionFile.open(tmp_path / "p.parquet")


def test_a_column_that_is_missing_or_there_twice_is_named(tmp_path: Path) -> None:
    pd.DataFrame({"task": ["depth"], "values": [[1.0]]}, index=["a"]).to_parquet(tmp_path / "p.parquet")
    with pytest.raises(DataError, match=r"found no 'item' \(but 'task', 'values', '__index_level_0__'\)"):
        PredictionFile.open(tmp_path / "p.parquet")
    twice = pa.table([["a"], ["b"], ["depth"], pa.array([[1.0]])], names=["item", "item", "task", "values"])
    pq.write_table(twice, tmp_path / "p.parquet")
    with pytest.raises(DataError, match="column 'item': expected one, found 2"):
        PredictionFile.open(tmp_path / "p.parquet")


@given(st.integers(-(2**53), 2**53))
def test_a_whole_number_is_the_same_in_every_type(number: int) -> None:
    for same in (number, float(number), Decimal(number), np.float64(number)):
        assert whole_number(same, "here") == number
        assert text(same, "here") == text(str(number), "here") == str(number)


@given(st.floats().filter(lambda number: not number.is_integer() and number == number) | st.booleans() | st.binary())
def test_what_is_no_whole_number_is_refused(cell: object) -> None:
    for read in (whole_number, text):
        with pytest.raises(DataError, match=r"^here: expected .*, found "):
            read(cell, "here")  # type: ignore[operator]
