"""Settings of a mixture search: what it tries, and by which metric it compares."""

from typing import Annotated, Literal

from pydantic import Field

from vlm3.config import StrictModel

Count = Annotated[int, Field(ge=1)]


class SearchConfig(StrictModel):
    """A search over the weights of a recipe's sources; every trial is a short training of that recipe."""

    recipe: str = "rooms.yaml"
    """The recipe, relative to the search's own file."""
    sources: tuple[str, ...] = ()
    """Sources whose weights vary; the sum of their weights stays that of the recipe; default: all with weight."""
    trials: Count = 8
    """Number of trainings. The first two have the recipe's own mixture and the uniform one."""
    steps: Count = 100
    """Steps of each training."""
    floor: Annotated[float, Field(ge=0, lt=0.5)] = 0.02
    """Smallest share of a varied source, so that every source is drawn."""
    metric: Annotated[str, Field(min_length=1)] = "eval/*/delta1"
    """Metric by which trials are compared; `*` averages over all that match, e.g. over the evaluated sources."""
    mode: Literal["max", "min"] = "max"
    seed: Annotated[int, Field(ge=0)] = 0
    max_concurrent: Count = 1
    """Trials at a time. Each needs the CPUs or GPUs of a whole training."""
    overrides: tuple[str, ...] = ()
    """`key=value` changes of the recipe, only for trials, e.g. for a smaller evaluation."""
