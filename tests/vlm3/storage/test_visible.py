"""Names that begin with a dot are no data, whatever system left them."""

from pathlib import Path

import pytest

from vlm3.storage.visible import files_below, is_hidden, visible

DATA = ("a.json", "b/c.txt", "b/d.e/f")
LEFT = (".DS_Store", "._a.json", "b/._c.txt", "b/.DS_Store", ".ipynb_checkpoints/a.json", "b/.git/c.txt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # The folder itself may lie below one with such a name.
    root = tmp_path / ".cache" / "models"
    for name in (*DATA, *LEFT):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_only_data_is_listed(folder: Path) -> None:
    assert [path.relative_to(folder).as_posix() for path in files_below(folder)] == sorted(DATA)
    assert [path.name for path in visible(folder.iterdir())] == ["a.json", "b"]
    assert files_below(folder / "none") == []


def test_a_path_is_hidden_by_any_of_its_names() -> None:
    assert all(is_hidden(Path(name)) for name in LEFT) and not any(is_hidden(Path(name)) for name in DATA)
