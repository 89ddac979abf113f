"""The input of one rank in one step: its parcels of the stream, cut into micro-batches."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from vlm3.stream.dealing import StepShape, split_rows
from vlm3.stream.parcels import Cost, RowParcel
from vlm3.stream.quarantine import Fault
from vlm3.tokens.batch import ModelBatch, collate
from vlm3.tokens.vision import VisionSpec


@dataclass(frozen=True, slots=True)
class StepInput:
    """One rank's share of a step."""

    micro_batches: Sequence[ModelBatch]
    faults: tuple[Fault, ...]
    """Faults of the bad samples that were replaced by these."""
    cost: Cost


def step_inputs(parcels: Iterable[RowParcel], shape: StepShape, vision: VisionSpec) -> Iterator[StepInput]:
    """Inputs of one rank's steps; a last step that lacks parcels is left out.

    Args:
        parcels: parcels of this rank, in order.
        shape: how a step is divided.
        vision: image settings of the model.
    """
    arriving = iter(parcels)
    while len(step := tuple(islice(arriving, shape.parcels))) == shape.parcels:
        rows = [row for parcel in step for row in parcel.rows]
        yield StepInput(
            [collate(rows[part], vision) for part in split_rows(len(rows), shape.micro_batches)],
            tuple(fault for parcel in step for fault in parcel.faults),
            sum((parcel.cost for parcel in step), Cost()),
        )
