"""Packed names come back as they were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.storage.packed_text import PIECE, PackedText


def paths(count: int) -> list[str]:
    return [f"train-g0-{i // 40:05d}-{i % 40:03d}.parquet" for i in range(count)]


@pytest.mark.parametrize("count", [0, 1, PIECE, PIECE + 1, 3 * PIECE - 1])
def test_names_come_back_one_by_one_and_all_together(count: int) -> None:
    packed = PackedText(paths(count))
    assert len(packed) == count
    assert list(packed) == paths(count)
    assert [packed[i] for i in range(count)] == paths(count)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=20))
def test_any_text_comes_back(texts: list[str]) -> None:
    assert list(PackedText(texts)) == texts


@pytest.mark.parametrize("number", [-1, 5])
def test_a_name_that_is_not_there_is_refused(number: int) -> None:
    with pytest.raises(IndexError, match="of 5"):
        PackedText(paths(5))[number]


def test_a_name_that_cannot_be_kept_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        PackedText(["a", "b\0c"])


def test_names_that_are_alike_take_a_few_bytes_each() -> None:
    assert PackedText(paths(50_000)).nbytes < 5 * 50_000
