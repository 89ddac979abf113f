"""Does the Ray cluster have what a training needs? If its autoscaler can start the missing nodes, waits for them."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ray

from pipelines.cluster import labelled_cpus
from pipelines.progress import watching
from vlm3.errors import ConfigError
from vlm3.log import get_logger
from vlm3.train.recipe import Recipe

if TYPE_CHECKING:
    from ray.core.generated.autoscaler_pb2 import AutoscalingState

log = get_logger(__name__)
POLL_S = 1.0
LINES = 6
"""Lines of progress over the whole wait where there is no terminal."""
RPC_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Demand:
    """CPUs and GPUs of a training."""

    workers: int
    worker: dict[str, float]
    """What each worker takes."""
    stream: list[dict[str, float]]
    """What each process of the stream takes: a reader, and the decoders that the recipe asks for, at least one."""
    stream_labels: dict[str, str]
    """Labels of the nodes on which the stream runs."""

    @classmethod
    def of(cls, recipe: Recipe) -> "Demand":
        """What a recipe needs."""
        train, read, decode = recipe.train, recipe.stream.read, recipe.stream.decode
        worker = {"CPU": train.cpus_per_worker} | ({"GPU": 1.0} if train.device == "cuda" else {})
        stream = [{"CPU": read.cpus}, *[{"CPU": decode.cpus}] * (decode.actors or 1)]
        return cls(train.workers, worker, stream, decode.node_labels)

    @property
    def stream_cpus(self) -> float:
        """CPUs of the stream."""
        return sum(process["CPU"] for process in self.stream)

    @property
    def total(self) -> dict[str, float]:
        """How much of each resource it needs."""
        total = {name: self.workers * amount for name, amount in self.worker.items()}
        return total | {"CPU": total["CPU"] + self.stream_cpus}


def require_capacity(recipe: Recipe) -> None:
    """Return once the cluster has the CPUs and GPUs that a training needs.

    Waits up to `train.wait_for_nodes_s` if an autoscaler can start nodes. How busy the nodes are matters only then:
    what is waited for has to be free.

    Raises:
        ConfigError: the cluster is too small, its autoscaler cannot make it larger, or did not within that time.
    """
    demand = Demand.of(recipe)
    there = ray.cluster_resources()
    large_enough = all(there.get(name, 0) >= amount for name, amount in demand.total.items())
    if large_enough and labelled_cpus(demand.stream_labels) >= demand.stream_cpus:
        return
    limit_s = recipe.train.wait_for_nodes_s
    if limit_s > 0 and _autoscaling().autoscaler_state_version:
        _await_nodes(demand, limit_s)
    elif not large_enough:
        raise ConfigError(_too_small(recipe, demand))
    else:
        log.warning(
            "no node has the labels %s of stream.decode.node_labels and %g CPUs: training waits until one joins",
            demand.stream_labels,
            demand.stream_cpus,
        )


def _await_nodes(demand: Demand, limit_s: int) -> None:
    """Ask the autoscaler for nodes by a placement group, which goes away with this process, and wait for them."""
    selectors = [*[{}] * demand.workers, *[demand.stream_labels] * len(demand.stream)]
    group = ray.util.placement_group(
        [*[demand.worker] * demand.workers, *demand.stream], bundle_label_selector=selectors
    )
    began = time.monotonic()

    def look() -> tuple[int, str]:
        return int(time.monotonic() - began), _there(demand)

    try:
        with watching("waiting for nodes: second", limit_s, look, lines=LINES):
            while not group.wait(POLL_S):
                refused = _autoscaling().infeasible_gang_resource_requests
                if any(gang.details.startswith(f"{group.id.hex()}:") for gang in refused):
                    raise ConfigError(
                        f"the autoscaler of the Ray cluster has no nodes for {_said(demand)}: raise the largest number"
                        " of nodes of its groups or their size, or lower train.workers or train.cpus_per_worker"
                    )
                if time.monotonic() - began > limit_s:
                    raise ConfigError(
                        f"after {limit_s} s the Ray cluster has {_there(demand)}; its autoscaler has not started the"
                        " other nodes, or other jobs take them: `ray status` says which; train.wait_for_nodes_s is the"
                        " limit"
                    )
    finally:
        ray.util.remove_placement_group(group)


def _autoscaling() -> "AutoscalingState":
    """What autoscaler v2 has reported. A cluster without one, or with v1, reports no version."""
    from ray._private.worker import global_worker
    from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply

    # Ray has no public function for this; its own `ray status` asks in the same way.
    reply = global_worker.gcs_client.get_cluster_status(timeout_s=RPC_TIMEOUT_S)
    return GetClusterStatusReply.FromString(reply).autoscaling_state


def _there(demand: Demand) -> str:
    there = ray.cluster_resources()
    return ", ".join(f"{there.get(name, 0):g} of {amount:g} {name}s" for name, amount in demand.total.items())


def _said(demand: Demand) -> str:
    worker = " and ".join(f"{amount:g} {name}s" for name, amount in demand.worker.items())
    return f"{demand.workers} workers with {worker} each and {demand.stream_cpus:g} CPUs to read and decode"


def _too_small(recipe: Recipe, demand: Demand) -> str:
    there, needed, train = ray.cluster_resources(), demand.total, recipe.train
    if there.get("GPU", 0) < needed.get("GPU", 0):
        return (
            f"train.device: cuda with train.workers: {train.workers} needs as many GPUs, the cluster has"
            f" {there.get('GPU', 0):g}; start nodes with GPUs or use --set train.device=cpu"
        )
    return (
        f"{train.workers} workers × {train.cpus_per_worker} CPUs + {demand.stream_cpus} to read and decode ="
        f" {needed['CPU']} CPUs, the Ray cluster has {there.get('CPU', 0)}: training would starve its own data; lower"
        " train.cpus_per_worker or add nodes"
    )
