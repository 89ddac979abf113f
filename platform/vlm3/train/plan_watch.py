"""The plan of a running job as its keeper last wrote it."""

from dataclasses import dataclass, field
from pathlib import Path

from vlm3.mixture.keeper import PLAN_FILE, read_plan
from vlm3.mixture.plan import MixturePlan


@dataclass(slots=True)
class PlanWatch:
    """Returns the newest plan; reads its file again only if `stat` shows that it was replaced.

    A change of weights is written before a position under it is issued, so the file covers all positions that arrived.
    """

    run_dir: Path
    plan: MixturePlan
    """The plan last read; at first the one to use while there is no file."""
    seen_ns: int = field(default=-1)
    """Time of change of the file that was read last."""

    def __call__(self) -> MixturePlan:
        """The newest plan."""
        try:
            written_ns = (self.run_dir / PLAN_FILE).stat().st_mtime_ns
        except FileNotFoundError:
            return self.plan
        if written_ns != self.seen_ns:
            self.plan = read_plan(self.run_dir) or self.plan
            self.seen_ns = written_ns
        return self.plan
