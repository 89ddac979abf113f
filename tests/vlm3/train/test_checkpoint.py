import dataclasses
import json
from pathlib import Path

import pytest

from vlm3.errors import CheckpointError
from vlm3.mixture.ledger import Ledger
from vlm3.train.checkpoint import STATE_FILE, TrainState, commit, read_state, require_recipe

RECIPE = {"seed": 1, "optimizer": {"learning_rate": 1e-3, "betas": (0.9, 0.999)}, "sources": {"rooms": {"weight": 1.0}}}


def state() -> TrainState:
    ledger = Ledger.empty().add([0, 1, 2, 5])
    return TrainState(7, ledger, '{"plan": 1}', "0123abcd", 2, 2, seen=(3, 1), replaced=(0, 1), recipe=RECIPE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A committed checkpoint of two files."""
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "a.pt").write_bytes(b"12345")
    (tmp_path / "engine" / "b.pt").write_bytes(b"123")
    commit(tmp_path, state(), {"engine/a.pt": 5, "engine/b.pt": 3})
    return tmp_path


def test_what_is_committed_is_read_back(folder: Path) -> None:
    found = read_state(folder)
    assert found.ledger.to_json() == state().ledger.to_json()
    plain = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    assert plain["plan"] == '{"plan": 1}'
    assert (found.step, found.recipe_fingerprint, found.world_size, found.zero_stage) == (7, "0123abcd", 2, 2)
    assert (found.seen, found.replaced) == ((3, 1), (0, 1))
    require_recipe(folder, found, "0123abcd", RECIPE)


def test_committing_leaves_one_file_and_replaces_an_older_one(folder: Path) -> None:
    commit(folder, dataclasses.replace(state(), step=8), {"engine/a.pt": 5})
    assert read_state(folder).step == 8
    assert sorted(path.name for path in folder.iterdir()) == ["engine", STATE_FILE]


def test_a_folder_without_the_state_file_is_no_checkpoint(folder: Path) -> None:
    (folder / STATE_FILE).unlink()
    with pytest.raises(CheckpointError, match=f"{STATE_FILE} is missing"):
        read_state(folder)


def test_a_missing_shard_is_named(folder: Path) -> None:
    (folder / "engine" / "b.pt").unlink()
    with pytest.raises(CheckpointError, match=r"engine/b\.pt is missing"):
        read_state(folder)


def test_a_shard_cut_short_is_named(folder: Path) -> None:
    (folder / "engine" / "a.pt").write_bytes(b"1234")
    with pytest.raises(CheckpointError, match=r"engine/a\.pt is cut short: expected 5 bytes, found 4"):
        read_state(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"step": 3}'])
def test_a_damaged_or_foreign_state_file_is_refused(folder: Path, text: str) -> None:
    (folder / STATE_FILE).write_text(text)
    with pytest.raises(CheckpointError, match=STATE_FILE):
        read_state(folder)


def test_another_schema_version_is_refused(folder: Path) -> None:
    data = json.loads((folder / STATE_FILE).read_text()) | {"schema": 99}
    (folder / STATE_FILE).write_text(json.dumps(data))
    with pytest.raises(CheckpointError, match="expected schema version 2, found 99"):
        read_state(folder)


def test_another_recipe_is_refused_naming_both_and_what_differs(folder: Path) -> None:
    changed = {"seed": 1, "optimizer": {"learning_rate": 2e-3, "betas": (0.9, 0.999)}, "sources": {}}
    with pytest.raises(CheckpointError) as error:
        require_recipe(folder, read_state(folder), "ffff0000", changed)
    message = str(error.value)
    assert "0123abcd" in message
    assert "ffff0000" in message
    assert "optimizer.learning_rate: 0.001 then, 0.002 now" in message
    assert "sources.rooms" in message
    assert "betas" not in message
    assert "seed" not in message
