"""The quarantine table of a run: names every bad sample, and is written with each checkpoint."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vlm3.errors import CheckpointError
from vlm3.mixture.ledger import Ledger
from vlm3.storage.store import open_store
from vlm3.stream.quarantine import Fault, QuarantineLimit, faults_to_table, table_to_faults
from vlm3.tracking.runs import TrackedRun
from vlm3.train.loop import LoopState, StepOutcome

FILE_NAME = "quarantine.parquet"


@dataclass(slots=True)
class Quarantine:
    """On all ranks: stops the run if too much is bad. On rank 0: writes the table to the run's folder and to MLflow."""

    limit: QuarantineLimit
    component_names: Sequence[str]
    run_dir: Path
    run: TrackedRun | None
    """Rank 0's run; None elsewhere."""
    faults: list[Fault] = field(default_factory=list)
    written: int = 0
    """Number of faults in the table that this process wrote last."""

    def restore(self, ledger: Ledger) -> None:
        """Read the table of an interrupted run, and keep the faults at positions that the ledger holds as consumed."""
        if self.run is None:
            return
        known = read_quarantine(self.run_dir)
        held = ledger.holds([fault.position for fault in known])
        self.faults = [fault for fault, kept in zip(known, held, strict=True) if kept]
        # If rows were dropped, the table is written anew, however many there will be then.
        self.written = len(known) if len(self.faults) == len(known) else -1

    def after_step(self, outcome: StepOutcome, state: LoopState) -> None:
        """Record the bad samples of a step.

        Raises:
            DataError: too much of a component is bad; the table is written first.
        """
        if self.run is not None:
            self.faults += outcome.faults
        try:
            self.limit.check(self.component_names, state.seen, state.replaced)
        except BaseException:
            self.write()
            raise

    def write(self) -> None:
        """Write the table if there are new faults."""
        if self.run is None or self.written == len(self.faults):
            return
        buffer = io.BytesIO()
        pq.write_table(faults_to_table(self.faults), buffer)
        open_store(str(self.run_dir)).write_atomic(FILE_NAME, buffer.getvalue())
        self.run.file(self.run_dir / FILE_NAME)
        self.written = len(self.faults)


def read_quarantine(run_dir: Path) -> tuple[Fault, ...]:
    """The bad samples of a run so far; empty if no table was written.

    Raises:
        CheckpointError: the table is damaged.
    """
    path = run_dir / FILE_NAME
    if not path.exists():
        return ()
    try:
        return table_to_faults(pq.read_table(path))
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}; move it away to continue without it") from None
