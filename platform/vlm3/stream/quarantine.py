"""Bad samples: named, counted, and bounded. A bad sample is replaced by the plan; it is never silently left out."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vlm3.errors import DataError


class FaultKind(StrEnum):
    """Where a sample failed."""

    CLIP = "clip"
    """Its bytes in the shard are damaged."""
    FRAME = "frame"
    """Camera, pose or labels are impossible."""
    IMAGE = "image"
    """The image cannot be decoded, is not what its camera says, or cannot be unified."""
    QUESTION = "question"
    """Nothing can be asked: no label in the view, say."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One bad sample: a row of the quarantine table."""

    position: int
    """Of the stream: where it would have stood."""
    attempt: int
    """0 for the plan's own sample, k for the k-th replacement."""
    component: str
    item: str
    """What is bad: source/scene/frame, or the clip's number."""
    kind: FaultKind
    error: str
    """Class of the error."""
    reason: str


SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("attempt", pa.int32()),
        ("component", pa.string()),
        ("item", pa.string()),
        ("kind", pa.string()),
        ("error", pa.string()),
        ("reason", pa.string()),
    ]
)


def faults_to_table(faults: Sequence[Fault]) -> pa.Table:
    """The quarantine table, a row a fault, in their order."""
    columns = {field.name: [getattr(fault, field.name) for fault in faults] for field in fields(Fault)}
    return pa.table(columns, SCHEMA)


def table_to_faults(table: pa.Table) -> tuple[Fault, ...]:
    """The faults of a quarantine table."""
    columns = [table[field.name].to_pylist() for field in fields(Fault)]
    return tuple(Fault(p, a, c, i, FaultKind(k), e, r) for p, a, c, i, k, e, r in zip(*columns, strict=True))


@dataclass(frozen=True, slots=True)
class QuarantineLimit:
    """How many samples of one component may be bad before the run stops."""

    per_1000: float
    grace: int = 100
    """Samples of the component that are seen before the share means anything."""

    def check(self, names: Sequence[str], seen: NDArray[np.int64], replaced: NDArray[np.int64]) -> None:
        """Stop a run whose data is worse than allowed.

        Args:
            names: of the components.
            seen: (components,) samples received of each.
            replaced: (components,) of those, how many stand in for a bad one.

        Raises:
            DataError: naming the worst component over the limit.
        """
        share = replaced / np.maximum(seen, self.grace)
        worst = int(share.argmax())
        if share[worst] * 1000 > self.per_1000:
            raise DataError(
                f"component {names[worst]}: {replaced[worst]} of {seen[worst]} samples were bad and were replaced, more"
                f" than stream.max_bad_per_1000 = {self.per_1000:g} allows; quarantine.parquet in the run's folder"
                " names each with its reason; check the source with jobs/doctor.py, or raise the limit and --resume"
            )
