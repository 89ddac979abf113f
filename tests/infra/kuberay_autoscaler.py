"""Ray's own autoscaler, asked about a cluster that does not run: what it reads, and which pods it adds."""

from dataclasses import dataclass, field

from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig, NodeTypeConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated.autoscaler_pb2 import GangResourceRequest, ResourceRequest
from ray.core.generated.common_pb2 import LabelSelectorOperator

from tests.infra.kuberay_manifests import Manifest, cluster_of

HEAD = "headgroup"


@dataclass(frozen=True, slots=True)
class Ask:
    """Resources that a task or a worker waits for, on nodes with these labels."""

    resources: dict[str, float]
    labels: dict[str, str] = field(default_factory=dict)

    def request(self) -> ResourceRequest:
        """The message by which Ray tells its autoscaler."""
        wanted = [(key, LabelSelectorOperator.LABEL_OPERATOR_IN, [value]) for key, value in self.labels.items()]
        return ResourceRequestUtil.make(self.resources, label_selectors=[wanted] if wanted else None)


def worker_groups(manifest: Manifest) -> dict[str, NodeTypeConfig]:
    """Resources, labels and bounds of the nodes of each worker group, as the autoscaler reads them."""
    return {name: node for name, node in _config(manifest).get_node_type_configs().items() if name != HEAD}


def added(manifest: Manifest, together: list[Ask], single: list[Ask]) -> tuple[dict[str, int], int]:
    """What the autoscaler does about these demands while no worker runs.

    Returns:
        How many pods it adds to each group, and how many demands no group can ever meet.
    """
    config = _config(manifest)
    gangs = [GangResourceRequest(requests=[ask.request() for ask in together])] if together else []
    reply = ResourceDemandScheduler().schedule(
        SchedulingRequest(
            disable_launch_config_check=True,
            node_type_configs=config.get_node_type_configs(),
            max_num_nodes=config.get_max_num_nodes(),
            gang_resource_requests=gangs,
            resource_requests=ResourceRequestUtil.group_by_count([ask.request() for ask in single]),
        )
    )
    unmet = len(reply.infeasible_resource_requests) + len(reply.infeasible_gang_resource_requests)
    return {launch.instance_type: launch.count for launch in reply.to_launch}, unmet


def _config(manifest: Manifest) -> AutoscalingConfig:
    cluster = {"metadata": manifest["metadata"], "spec": cluster_of(manifest)}
    return AutoscalingConfig(_derive_autoscaling_config_from_ray_cr(cluster), skip_content_hash=True)
