"""Files and folders are there whole or not at all, and nothing else is left beside them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlm3.storage.atomic import create_file, new_directory, publish_directory, replace_file


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> str:
    return oct(path.stat().st_mode & 0o777)


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_replaced_in_a_folder_that_is_made(tmp_path: Path, durable: bool) -> None:
    file = tmp_path / "deep" / "file"
    for data in (b"one", b""):
        replace_file(file, data, durable=durable)
        assert file.read_bytes() == data and names(file.parent) == ["file"]
    assert mode(file) == "0o640"


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        replace_file(tmp_path / "taken", b"data")
    assert names(tmp_path) == ["taken"]


def test_a_file_is_created_once_and_stays_the_first_ones(tmp_path: Path) -> None:
    create_file(tmp_path / "file", b"mine")
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "file", b"theirs")
    assert (tmp_path / "file").read_bytes() == b"mine" and names(tmp_path) == ["file"]


def test_a_folder_appears_when_it_is_full_with_the_modes_of_the_umask(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "folder"
    with new_directory(target) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "private").touch(0o600)
        assert not target.exists()
    assert [mode(target / inner) for inner in (".", "inner", "inner/private")] == ["0o750", "0o750", "0o640"]
    assert names(target.parent) == ["folder"]


@pytest.mark.parametrize("replace", [True, False])
def test_a_folder_that_fails_changes_nothing(tmp_path: Path, replace: bool) -> None:
    replace_file(tmp_path / "folder" / "old", b"")
    with pytest.raises(KeyError), new_directory(tmp_path / "folder", replace=replace) as folder:
        replace_file(folder / "new", b"")
        raise KeyError
    assert names(tmp_path) == ["folder"] and names(tmp_path / "folder") == ["old"]


@pytest.mark.parametrize(("replace", "left"), [(True, "new"), (False, "old")])
def test_a_folder_that_is_there_is_replaced_whole_or_kept(tmp_path: Path, replace: bool, left: str) -> None:
    replace_file(tmp_path / "folder" / "old", b"")
    with new_directory(tmp_path / "folder", replace=replace) as folder:
        replace_file(folder / "new", b"")
    assert names(tmp_path) == ["folder"] and names(tmp_path / "folder") == [left]


def test_a_file_in_the_way_of_a_folder_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("text")
    (tmp_path / "finished").mkdir()
    with pytest.raises(NotADirectoryError):
        publish_directory(tmp_path / "finished", tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "text"
