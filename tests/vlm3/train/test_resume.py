"""Which checkpoint a run continues from: the newest whole one; only unfinished ones are thrown away."""

import json
from pathlib import Path

import pytest

from vlm3.errors import CheckpointError
from vlm3.mixture.ledger import Ledger
from vlm3.train.checkpoint import STATE_FILE, TrainState, commit
from vlm3.train.resume import checkpoint_name, discard_incomplete, latest_checkpoint


def checkpoint(run_dir: Path, step: int) -> Path:
    folder = run_dir / checkpoint_name(step)
    folder.mkdir()
    (folder / "weights").write_bytes(b"12345")
    commit(folder, TrainState(step, Ledger.empty(), "{}", "f", 1, 0, (), ()), {"weights": 5})
    return folder


def test_the_newest_whole_checkpoint_is_taken_and_what_was_being_written_goes(tmp_path: Path) -> None:
    whole, cut, unfinished = (checkpoint(tmp_path, step) for step in (9, 10, 200))
    (cut / "weights").write_bytes(b"12")
    (unfinished / STATE_FILE).unlink()
    assert latest_checkpoint(tmp_path) == whole
    discard_incomplete(tmp_path)
    assert list(tmp_path.iterdir()) == [whole]


def test_a_checkpoint_of_another_version_is_an_error_and_stays(tmp_path: Path) -> None:
    checkpoint(tmp_path, 9)
    newer = checkpoint(tmp_path, 10)
    state = json.loads((newer / STATE_FILE).read_text()) | {"schema": 99}
    (newer / STATE_FILE).write_text(json.dumps(state))
    for call in (latest_checkpoint, discard_incomplete):
        with pytest.raises(CheckpointError, match="schema version"):
            call(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_run_without_checkpoints_starts_anew(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
