"""Settings of the stream: how it is read, where it is decoded, and how much bad data is accepted."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from vlm3.config import StrictModel


class ReadConfig(StrictModel):
    """The stage that fetches clips."""

    positions: Annotated[int, Field(ge=1)] = 2048
    """Positions per reading task: each clip they need is fetched once, so longer ranges fetch fewer bytes."""
    ahead: Annotated[int, Field(ge=1, le=64)] = 4
    """Clips fetched ahead by a task, in threads: more hide a longer latency and take more memory."""
    tasks: Annotated[int, Field(ge=1)] | None = None
    """Reading tasks at a time; default: one for every four CPUs that exist when the stream starts."""
    cpus: Annotated[float, Field(gt=0)] = 0.1
    """CPUs reserved by one task, which mostly waits."""


class DecodeConfig(StrictModel):
    """The stage that decodes, unifies, asks and tokenises."""

    cpus: Annotated[float, Field(gt=0)] = 0.8
    """CPUs reserved by one actor or task: a decoder, a reader and the driver of a trial fit on one CPU."""
    pool: Literal["actors", "tasks"] = "actors"
    """Long-lived processes whose next parcels are already waiting, or one task per parcel. Ray Data looks for finished
    tasks every 0.1 s, so tasks leave their cores idle in between, but hold no CPU while there is nothing to decode."""
    actors: Annotated[int, Field(ge=1)] | None = None
    """Size of the pool of actors; default: from 1 to as many as there are CPUs for, as needed."""
    node_labels: dict[str, str] = Field(default_factory=dict)
    """Labels of the nodes that read and decode, e.g. {pool: cpu}: keeps GPU nodes free of this work."""


class StreamConfig(StrictModel):
    """How Ray Data executes the mixture plan."""

    period: Annotated[int, Field(ge=1 << 10, le=1 << 20)] = 1 << 16
    """Period T of the plan: weights become integers that sum to it."""
    deterministic: bool = False
    """Whether step k takes exactly the k-th positions; otherwise a step takes whichever are ready first. Each sample is
    the same either way, and a whole run consumes the same samples."""
    read: ReadConfig = ReadConfig()
    decode: DecodeConfig = DecodeConfig()
    max_bad_per_1000: Annotated[float, Field(ge=0)] = 50.0
    """Bad samples of a component (damaged, or with nothing to ask) are replaced; a larger share stops the run."""

    @model_validator(mode="after")
    def _two_stages(self) -> Self:
        if self.decode.pool == "tasks" and self.decode.actors is not None:
            raise ValueError(
                f"decode.pool: tasks has no use for decode.actors: {self.decode.actors}; remove one of the two"
            )
        if self.read.cpus == self.decode.cpus:
            raise ValueError(
                f"read.cpus and decode.cpus are both {self.read.cpus}: Ray would make one stage of the two; let them"
                " differ, e.g. read.cpus 0.1"
            )
        return self
