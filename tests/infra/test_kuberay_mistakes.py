"""Mistakes planted into what kubectl built: each is found, and the message names it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import pytest

from tests.infra.kuberay_faults import faults
from tests.infra.kuberay_manifests import Manifest, built

ABSENT = object()
JOB, CLUSTER, SERVICE, DEPLOYMENT = "RayJob", "RayCluster", "RayService", "Deployment"
GPU_POD = "spec.rayClusterSpec.workerGroupSpecs.1.template.spec"


@dataclass(frozen=True, slots=True)
class Mistake:
    """A value that is changed, and what the message about it has to say."""

    folder: str
    kind: str
    path: str
    value: Any
    said: str


def put(manifest: Manifest, path: str, value: Any) -> None:
    """Set the value at a dotted path, remove it (ABSENT), or make it from the present one (a function)."""
    *parents, last = [int(key) if key.isdigit() else key.replace("~", ".") for key in path.split(".")]
    holder: Any = reduce(lambda found, key: found[key], parents, manifest)
    if value is ABSENT:
        del holder[last]
    else:
        holder[last] = value(holder[last]) if callable(value) else value


def words(old: str, new: str) -> Callable[[str], str]:
    """Replace words that must be there."""

    def replace(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return replace


MISTAKES = {
    # What KubeRay's definitions and Kubernetes' schemas know.
    "a misspelt field": Mistake("overlays/gpu", JOB, "spec.backofLimit", 3, "'backofLimit' was unexpected"),
    "a misspelt field of a pod": Mistake(
        "overlays/gpu", JOB, f"{GPU_POD}.toleration", [], "'toleration' was unexpected"
    ),
    "a field one level too high": Mistake("base", CLUSTER, "spec.groupName", "cpu", "'groupName' was unexpected"),
    "a number for a text": Mistake(
        "base", CLUSTER, "spec.headGroupSpec.rayStartParams.num-cpus", 0, "0 is not of type 'string'"
    ),
    "a text for a number": Mistake(
        "base", CLUSTER, "spec.workerGroupSpecs.0.maxReplicas", "8", "'8' is not of type 'integer'"
    ),
    "a unit that Kubernetes does not know": Mistake(
        "overlays/gpu", JOB, f"{GPU_POD}.containers.0.resources.limits.memory", "64GB", "'64GB' does not match"
    ),
    "an autoscaler that does not exist": Mistake(
        "base", CLUSTER, "spec.autoscalerOptions.version", "v3", "'v3' is not one of"
    ),
    "a variable that is set twice": Mistake(
        "overlays/gpu",
        JOB,
        f"{GPU_POD}.containers.0.env",
        lambda env: [*env, {"name": "VLM3_RUNS", "value": "/tmp"}],
        "('VLM3_RUNS',) occurs 2 times",
    ),
    "a group without a pod": Mistake(
        "base", CLUSTER, "spec.workerGroupSpecs.0.template", ABSENT, "'template' is a required property"
    ),
    "an old version of the interface": Mistake(
        "base", CLUSTER, "apiVersion", "ray.io/v1alpha1", "'ray.io/v1' was expected"
    ),
    "a misspelt probe": Mistake(
        "mlflow", DEPLOYMENT, "spec.template.spec.containers.0.readinesProbe", {}, "'readinesProbe' was unexpected"
    ),
    "a port as a text": Mistake(
        "mlflow", DEPLOYMENT, "spec.template.spec.containers.0.ports.0.containerPort", "5000", "'5000' is not of type"
    ),
    # What only the operator, or a pod that starts, would say.
    "a pod that restarts": Mistake("overlays/gpu", JOB, f"{GPU_POD}.restartPolicy", "Always", "restartPolicy Always"),
    "no version of Ray": Mistake("base", CLUSTER, "spec.rayVersion", ABSENT, "which tokens need"),
    "no token": Mistake("overlays/serve", SERVICE, "spec.rayClusterConfig.authOptions", ABSENT, "expected token"),
    "a token by hand": Mistake(
        "overlays/gpu",
        JOB,
        f"{GPU_POD}.containers.0.env",
        lambda env: [*env, {"name": "RAY_AUTH_TOKEN", "value": "x"}],
        "RAY_AUTH_TOKEN set by hand",
    ),
    "labels where they are refused": Mistake(
        "base", CLUSTER, "spec.workerGroupSpecs.0.rayStartParams", {"labels": "pool=cpu"}, "labels in rayStartParams"
    ),
    "labels that the autoscaler does not read": Mistake(
        "base", CLUSTER, "spec.autoscalerOptions.version", "v1", "must be v2"
    ),
    "autoscaler options without an autoscaler": Mistake(
        "base", CLUSTER, "spec.enableInTreeAutoscaling", False, "without enableInTreeAutoscaling"
    ),
    "resources given twice": Mistake(
        "base", CLUSTER, "spec.headGroupSpec.resources", {"memory": "1"}, "resources and rayStartParams num-cpus"
    ),
    "two groups of one name": Mistake(
        "overlays/gpu", JOB, "spec.rayClusterSpec.workerGroupSpecs.1.groupName", "cpu", "names are not unique"
    ),
    "more replicas than the most": Mistake("base", CLUSTER, "spec.workerGroupSpecs.0.replicas", 9, "not in 0 to 8"),
    "a name that is too long": Mistake("overlays/gpu", JOB, "metadata.name", "t" * 48, "at most 47 characters"),
    "a job that waits and keeps its cluster": Mistake(
        "overlays/queue", JOB, "spec.shutdownAfterJobFinishes", False, "suspend needs shutdownAfterJobFinishes"
    ),
    "a job without a cluster": Mistake("overlays/gpu", JOB, "spec.rayClusterSpec", ABSENT, "expected rayClusterSpec"),
    "a misspelt way of submitting": Mistake(
        "overlays/gpu", JOB, "spec.submissionMode", "K8SJobMode", "is none of K8sJobMode"
    ),
    "a cluster that is only named": Mistake(
        "overlays/gpu", JOB, "spec.clusterSelector", {"ray.io/cluster": "vlm3"}, "exclude each other"
    ),
    "a submitter for ever": Mistake(
        "overlays/gpu", JOB, "spec.submitterPodTemplate.spec.restartPolicy", ABSENT, "restartPolicy Always"
    ),
    "a negative number of tries": Mistake("overlays/gpu", JOB, "spec.backoffLimit", -1, "expected 0 or more"),
    "a misspelt upgrade": Mistake(
        "overlays/serve", SERVICE, "spec.upgradeStrategy.type", "newCluster", "is none of NewCluster"
    ),
    "a misspelt volume": Mistake(
        "overlays/gpu", JOB, f"{GPU_POD}.volumes.0.name", "run", "mounts runs, which is no volume"
    ),
    "a misspelt disk": Mistake(
        "overlays/gpu", JOB, f"{GPU_POD}.volumes.0.persistentVolumeClaim.claimName", "run", "there is no claim run"
    ),
    "a misspelt secret": Mistake(
        "overlays/gpu", JOB, f"{GPU_POD}.containers.0.envFrom.0.secretRef.name", "mlflow", "the Secret mlflow"
    ),
    "a pod as root": Mistake(
        "overlays/gpu", JOB, f"{GPU_POD}.containers.0.securityContext.runAsNonRoot", ABSENT, "runAsNonRoot"
    ),
    "memory that may be taken away": Mistake(
        "overlays/gpu", JOB, f"{GPU_POD}.containers.0.resources.requests.memory", "1Gi", "request 1Gi and limit 64Gi"
    ),
    # What only this project knows.
    "two images": Mistake("overlays/gpu", JOB, f"{GPU_POD}.containers.0.image", "vlm3:other", "several images"),
    "another version of Ray": Mistake("base", CLUSTER, "spec.rayVersion", "2.59.0", "constraints.txt has"),
    "a head that works": Mistake("base", CLUSTER, "spec.headGroupSpec.rayStartParams", ABSENT, "num-cpus"),
    "runs on a disk of their own": Mistake(
        "overlays/gpu", JOB, f"{GPU_POD}.containers.0.env.0.value", "/tmp/runs", "not the shared disk"
    ),
    "a queue that is named too deep": Mistake(
        "overlays/queue",
        JOB,
        "spec.rayClusterSpec.headGroupSpec.template.metadata.labels",
        {"kueue.x-k8s.io/priority-class": "high"},
        "only metadata.labels",
    ),
    "a queue that is not waited for": Mistake("overlays/queue", JOB, "spec.suspend", False, "suspend: expected true"),
    "a queue and an autoscaler": Mistake(
        "overlays/queue", JOB, "spec.rayClusterSpec.enableInTreeAutoscaling", True, "Kueue refuses it"
    ),
    "a second try that starts anew": Mistake(
        "overlays/gpu", JOB, "spec.entrypoint", words(" --continue", ""), "expected --name NAME --continue"
    ),
    "a misspelt option": Mistake(
        "overlays/gpu", JOB, "spec.entrypoint", words("--with", "--wiht"), "--wiht is no option"
    ),
    "a recipe that does not exist": Mistake(
        "overlays/gpu", JOB, "spec.entrypoint", words("rooms.yaml", "room.yaml"), "no such file"
    ),
    "a misspelt key of the recipe": Mistake(
        "overlays/gpu", "ConfigMap", "data.placement~yaml", words("node_labels", "node_label"), "node_labels"
    ),
    "a label that no group has": Mistake(
        "overlays/gpu",
        JOB,
        "spec.rayClusterSpec.workerGroupSpecs.0.labels.pool",
        "cpus",
        "no worker group has the labels",
    ),
    "more workers than GPUs": Mistake(
        "overlays/gpu", "ConfigMap", "data.placement~yaml", words("workers: 1 ", "workers: 2 "), "start with 1"
    ),
    "a key that Ray Serve ignores": Mistake(
        "overlays/serve", SERVICE, "spec.serveConfigV2", words("route_prefix", "route_prefx"), "route_prefx is no key"
    ),
    "a misspelt builder": Mistake(
        "overlays/serve", SERVICE, "spec.serveConfigV2", words("serve.app:build", "serve.app:built"), "serve.app:built"
    ),
    "a misspelt setting of the endpoint": Mistake(
        "overlays/serve", SERVICE, "spec.serveConfigV2", words("replicas: 2", "replica: 2"), "replicas"
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_is_caught(name: str) -> None:
    mistake = MISTAKES[name]
    manifests = built(mistake.folder)
    (changed,) = [manifest for manifest in manifests if manifest["kind"] == mistake.kind]
    put(changed, mistake.path, mistake.value)
    found = faults(manifests)
    assert any(mistake.said in fault for fault in found), found
