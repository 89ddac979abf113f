"""The components of a mixture, as a plan knows them, and checks of their weights and limits."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from vlm3.errors import CheckpointError, ConfigError, nearest
from vlm3.mixture.permutation import MAX_SIZE

NameT = TypeVar("NameT")


@dataclass(frozen=True, slots=True)
class ComponentSize:
    """What a plan knows about one component (source, task)."""

    name: str
    clips: int
    """Number of training clips; 0 is allowed only for a component without weight."""
    slots: int
    """Samples drawn from a clip in one visit."""
    fingerprint: str
    """Fingerprint of the data: a plan is not continued on other data."""

    def __post_init__(self) -> None:
        if self.clips < 0 or self.slots < 1 or self.clips * self.slots > MAX_SIZE:
            raise ValueError(f"{self.name}: {self.clips} clips of {self.slots} slots is not 1 … 2⁴⁰ elements")


def check_weights(components: Sequence[ComponentSize], weights: Sequence[float | None]) -> None:
    """Check that samples can be drawn by these weights; None is never an error.

    Raises:
        ConfigError: the number of weights differs from that of the components, or a weight is negative, not finite,
            or above 0 for a component without clips.
    """
    if len(weights) != len(components):
        raise ConfigError(f"the mixture has {len(components)} components, found {len(weights)} weights")
    for component, weight in zip(components, weights, strict=True):
        if weight is None:
            continue
        if not math.isfinite(weight) or weight < 0:
            raise ConfigError(f"weight of component {component.name!r}: expected a finite number ≥ 0, found {weight}")
        if weight > 0 and component.clips == 0:
            raise ConfigError(
                f"component {component.name!r} has weight {weight} but no training clips (its source is empty or marked"
                " eval): set its weight to 0"
            )


def weights_by_name(components: Sequence[ComponentSize], weights: Mapping[str, float]) -> tuple[float | None, ...]:
    """Weights in the order of the components; None where a component is not named.

    Raises:
        ConfigError: a component is unknown, or its weight cannot be drawn.
    """
    names = [component.name for component in components]
    for name in weights:
        if name not in names:
            raise ConfigError(f"the mixture has no component {name!r}{nearest(name, names)}")
    ordered = tuple(weights.get(name) for name in names)
    check_weights(components, ordered)
    return ordered


def ever_weighted(names: Sequence[NameT], asked: Iterable[Sequence[float | None]]) -> tuple[NameT, ...]:
    """The components that a run trains: those with weight at the start or after any later change of the weights.

    Args:
        names: names of all components.
        asked: weights at the start and of each change, in the order of `names`; None keeps a weight.
    """
    given = {name for weights in asked for name, weight in zip(names, weights, strict=True) if weight}
    return tuple(name for name in names if name in given)


def sample_limits(components: Sequence[ComponentSize], max_epochs: Sequence[float | None]) -> tuple[int | None, ...]:
    """Largest whole number of samples of each component that its epochs allow; None for no limit.

    Raises:
        ConfigError: the limit of a component is less than one sample.
    """
    limits: list[int | None] = []
    for component, epochs in zip(components, max_epochs, strict=True):
        elements = component.clips * component.slots
        limits.append(None if epochs is None or not elements else math.floor(Fraction(epochs) * elements))
        if limits[-1] == 0:
            raise ConfigError(
                f"mixture.max_epochs.{component.name}: {epochs} of {elements} samples is less than one sample; raise it"
                " or set the weight to 0"
            )
    return tuple(limits)


def check_same(planned: Sequence[ComponentSize], found: Sequence[ComponentSize]) -> None:
    """Check that a plan was made for the data that this run found.

    Raises:
        CheckpointError: the components differ; names what differs.
    """
    expected, names = [part.name for part in planned], [part.name for part in found]
    if expected != names:
        raise CheckpointError(
            f"the checkpoint's mixture has components {', '.join(expected)}, this run has {', '.join(names)}: "
            "resume with the sources and tasks it was started with"
        )
    for old, new in zip(planned, found, strict=True):
        if old != new:
            raise CheckpointError(
                f"component {old.name!r} was {old.clips} clips of {old.slots} slots of data {old.fingerprint} in the "
                f"checkpoint, found {new.clips} of {new.slots} of {new.fingerprint}: use the old data or start anew"
            )
