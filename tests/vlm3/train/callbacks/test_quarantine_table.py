"""The quarantine table of a run: in its folder, in MLflow, and in step with what a checkpoint holds."""

from pathlib import Path

import numpy as np
import pytest

from vlm3.errors import CheckpointError, DataError
from vlm3.mixture.ledger import Ledger
from vlm3.stream.parcels import Cost
from vlm3.stream.quarantine import Fault, FaultKind, QuarantineLimit
from vlm3.tracking.config import TrackingConfig
from vlm3.tracking.runs import TrackedRun, prepare_tracking, start_run
from vlm3.train.callbacks.quarantine_table import FILE_NAME, Quarantine, read_quarantine
from vlm3.train.engine import StepStats
from vlm3.train.loop import LoopState, StepOutcome


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrackedRun:
    folder = tmp_path_factory.mktemp("runs")
    prepare_tracking(TrackingConfig(), folder)
    return start_run(TrackingConfig(), folder, "quarantine", "evaluation")


def fault(position: int) -> Fault:
    return Fault(position, 0, "rooms/depth", f"rooms/a/{position}", FaultKind.IMAGE, "DataError", "damaged JPEG")


def outcome(step: int, *faults: Fault) -> StepOutcome:
    received = np.array([[4 * step + i, 0, int(i < len(faults))] for i in range(4)])
    return StepOutcome(step, StepStats(1.0, 1.0, 1.0, 4, np.zeros((2, 2))), received, faults, Cost(), 0.1, 0.0)


def quarantine(folder: Path, run: TrackedRun | None, per_1000: float = 1000) -> Quarantine:
    return Quarantine(QuarantineLimit(per_1000), ("rooms/depth",), folder, run)


def after(table: Quarantine, state: LoopState, done: StepOutcome) -> None:
    state.consume(done.received)
    table.after_step(done, state)


def test_bad_samples_are_written_when_asked_and_read_back(tmp_path: Path, run: TrackedRun) -> None:
    table, state = quarantine(tmp_path, run), LoopState.fresh(1)
    table.write()
    assert read_quarantine(tmp_path) == (), "no table where nothing was bad"
    after(table, state, outcome(0, fault(0)))
    after(table, state, outcome(1))
    after(table, state, outcome(2, fault(8), fault(9)))
    table.write()
    assert read_quarantine(tmp_path) == (fault(0), fault(8), fault(9))
    written = (tmp_path / FILE_NAME).stat().st_mtime_ns
    table.write()
    assert (tmp_path / FILE_NAME).stat().st_mtime_ns == written, "nothing new, nothing written"


def test_other_ranks_write_nothing(tmp_path: Path) -> None:
    table = quarantine(tmp_path, None)
    after(table, LoopState.fresh(1), outcome(0, fault(0)))
    table.write()
    assert not (tmp_path / FILE_NAME).exists()


def test_an_interrupted_run_keeps_what_its_checkpoint_holds(tmp_path: Path, run: TrackedRun) -> None:
    table, state = quarantine(tmp_path, run), LoopState.fresh(1)
    after(table, state, outcome(0, fault(0)))
    after(table, state, outcome(1, fault(4)))
    table.write()
    again = quarantine(tmp_path, run)
    again.restore(Ledger.empty().add(range(4)))
    assert again.faults == [fault(0)], "position 4 is consumed again, and told again"


def test_a_run_that_is_stopped_leaves_its_table(tmp_path: Path, run: TrackedRun) -> None:
    table, state = quarantine(tmp_path, run, per_1000=10), LoopState.fresh(1)
    with pytest.raises(DataError, match=r"rooms/depth: 2 of 4 samples were bad"):
        after(table, state, outcome(0, fault(0), fault(1)))
    assert read_quarantine(tmp_path) == (fault(0), fault(1))


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"PAR1 not really")
    with pytest.raises(CheckpointError, match=r"quarantine\.parquet: cannot be read"):
        read_quarantine(tmp_path)
