"""Bad samples: reported, counted and limited. A bad sample is replaced by the plan, never silently left out."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vlm3.errors import DataError


class FaultKind(StrEnum):
    """The part of a sample that is bad."""

    CLIP = "clip"
    """The clip's bytes in the shard are damaged."""
    FRAME = "frame"
    """The row is not a frame, or its camera, pose or labels are impossible."""
    IMAGE = "image"
    """The image cannot be decoded, does not fit its camera, or cannot be unified."""
    QUESTION = "question"
    """Nothing can be asked, e.g. because no label is in the view."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One bad sample: a row of the quarantine table."""

    position: int
    """Position in the stream that the sample would have had."""
    attempt: int
    """0 for the plan's own sample, k for the k-th replacement."""
    component: str
    item: str
    """Name of what is bad: source/scene/frame, or the clip's number."""
    kind: FaultKind
    error: str
    """Name of the error's class."""
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
    """The quarantine table, one row per fault, in the same order."""
    columns = {field.name: [getattr(fault, field.name) for fault in faults] for field in fields(Fault)}
    return pa.table(columns, SCHEMA)


def table_to_faults(table: pa.Table) -> tuple[Fault, ...]:
    """The faults of a quarantine table."""
    columns = [table[field.name].to_pylist() for field in fields(Fault)]
    return tuple(Fault(p, a, c, i, FaultKind(k), e, r) for p, a, c, i, k, e, r in zip(*columns, strict=True))


@dataclass(frozen=True, slots=True)
class QuarantineLimit:
    """The share of bad samples of a component above which the run stops."""

    per_1000: float
    grace: int = 100
    """The share is taken of at least this many samples, so that a few early faults do not stop the run."""

    def check(self, names: Sequence[str], seen: NDArray[np.int64], replaced: NDArray[np.int64]) -> None:
        """Stop a run whose data is worse than allowed.

        Args:
            names: names of the components.
            seen: (components,) samples received of each.
            replaced: (components,) how many of these replace a bad sample.

        Raises:
            DataError: a component is over the limit; names the worst one.
        """
        share = replaced / np.maximum(seen, self.grace)
        worst = int(share.argmax())
        if share[worst] * 1000 > self.per_1000:
            raise DataError(
                f"component {names[worst]}: {replaced[worst]} of {seen[worst]} samples were bad and were replaced, more"
                f" than stream.max_bad_per_1000 = {self.per_1000:g} allows; quarantine.parquet in the run's folder"
                " names each with its reason; check the source with jobs/doctor.py, or raise the limit and --resume"
            )
