"""What KubeRay 1.7 refuses, or does otherwise than asked, beyond its definitions; each rule says why it exists."""

import re
from collections.abc import Callable, Iterator

from tests.infra.kuberay_manifests import Manifest, cluster_of, groups_of, pods_of

Rule = Callable[[Manifest], Iterator[str]]
LONGEST_NAME = {"RayCluster": 53, "RayJob": 47, "RayService": 47}
SUBMISSION_MODES = ("K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode")
UPGRADES = ("NewCluster", "NewClusterWithIncrementalUpgrade", "None")
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
OLDEST_WITH_TOKENS = (2, 52)


def name(manifest: Manifest) -> Iterator[str]:
    """Names of clusters and of their services are made of it, and those have at most 63 characters."""
    said, longest = manifest["metadata"]["name"], LONGEST_NAME[manifest["kind"]]
    if len(said) > longest or not DNS_LABEL.fullmatch(said):
        yield f"metadata.name: {said!r} is not a DNS label of at most {longest} characters"


def restart_policy(manifest: Manifest) -> Iterator[str]:
    """The second autoscaler takes a pod for an instance: one that restarts in place would be two."""
    for where, pod in _pods_of_ray(manifest):
        policy = pod["spec"].get("restartPolicy", "Never")
        if _autoscaler(manifest) == "v2" and policy != "Never":
            yield f"{where}: restartPolicy {policy} with autoscaler v2; leave it out"


def autoscaler_chosen_once(manifest: Manifest) -> Iterator[str]:
    """The variable of the head and `autoscalerOptions` exclude each other, and neither works without an autoscaler."""
    options = cluster_of(manifest).get("autoscalerOptions")
    if options is not None and _autoscaler(manifest) is None:
        yield "autoscalerOptions without enableInTreeAutoscaling: true"
    if "RAY_enable_autoscaler_v2" in _variables(cluster_of(manifest)["headGroupSpec"]["template"]):
        yield "head: RAY_enable_autoscaler_v2 is set; use autoscalerOptions.version"


def labels_need_autoscaler_v2(manifest: Manifest) -> Iterator[str]:
    """The first autoscaler does not look at labels: tasks that ask for one would wait forever for a group at zero."""
    labelled = [group["groupName"] for group in groups_of(manifest) if group.get("labels")]
    if labelled and _autoscaler(manifest) == "v1":
        yield f"groups {', '.join(labelled)} have labels: autoscalerOptions.version must be v2"


def token(manifest: Manifest) -> Iterator[str]:
    """Without a token, whoever reaches a port controls the cluster. KubeRay sets it up only for a version it knows."""
    cluster = cluster_of(manifest)
    if cluster.get("authOptions", {}).get("mode") != "token":
        yield "authOptions.mode: expected token"
    version = str(cluster.get("rayVersion", ""))
    if not re.fullmatch(r"\d+\.\d+\.\d+", version) or tuple(map(int, version.split(".")[:2])) < OLDEST_WITH_TOKENS:
        yield f"rayVersion: {version!r} is not a version from 2.52.0 on, which tokens need"
    for where, pod in pods_of(manifest):
        by_hand = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} & set(_variables(pod))
        if by_hand:
            yield f"{where}: {', '.join(sorted(by_hand))} set by hand; authOptions sets them"


def node_labels(manifest: Manifest) -> Iterator[str]:
    """Labels of Ray's nodes are read from the group alone, and have the form of Kubernetes' labels."""
    for where, group in _groups_and_head(manifest):
        if "labels" in group.get("rayStartParams", {}):
            yield f"{where}: labels in rayStartParams are refused; use labels of the group"
        for key, value in group.get("labels", {}).items():
            if not LABEL.fullmatch(key.rpartition("/")[2]) or not key or not LABEL.fullmatch(value):
                yield f"{where}: {key}: {value} is no label"


def resources_given_once(manifest: Manifest) -> Iterator[str]:
    """Ray's own resources come from the group or from rayStartParams; both are refused."""
    for where, group in _groups_and_head(manifest):
        both = {"num-cpus", "num-gpus", "memory", "resources"} & set(group.get("rayStartParams", {}))
        if both and group.get("resources"):
            yield f"{where}: resources and rayStartParams {', '.join(sorted(both))}"


def sizes(manifest: Manifest) -> Iterator[str]:
    """Two groups of one name are one to the autoscaler; a number outside of its bounds is moved silently."""
    names = [group["groupName"] for group in groups_of(manifest)]
    if len(names) != len(set(names)):
        yield f"workerGroupSpecs: names are not unique: {', '.join(names)}"
    for group in groups_of(manifest):
        least, most = group.get("minReplicas", 0), group.get("maxReplicas", 2**31 - 1)
        if not least <= group.get("replicas", 0) <= most:
            yield f"group {group['groupName']}: replicas {group.get('replicas', 0)} not in {least} to {most}"


def job_ends_with_its_cluster(manifest: Manifest) -> Iterator[str]:
    """A job is suspended, and cleaned up after a time, by deleting its cluster."""
    spec = manifest["spec"]
    if manifest["kind"] == "RayJob" and not spec.get("shutdownAfterJobFinishes"):
        for key in ("suspend", "ttlSecondsAfterFinished"):
            if spec.get(key):
                yield f"{key} needs shutdownAfterJobFinishes: true"


def cluster_of_its_own(manifest: Manifest) -> Iterator[str]:
    """A cluster that a job only names is neither made anew for another try nor ended with the job."""
    if "headGroupSpec" not in cluster_of(manifest):
        yield "expected rayClusterSpec, with a cluster of its own"
    if "clusterSelector" in manifest["spec"]:
        yield "clusterSelector and rayClusterSpec exclude each other"


def submission(manifest: Manifest) -> Iterator[str]:
    """The definition takes any word as submissionMode; a pod of a Kubernetes Job must not restart for ever."""
    spec = manifest["spec"]
    if manifest["kind"] != "RayJob":
        return
    mode = spec.get("submissionMode", "K8sJobMode")
    if mode not in SUBMISSION_MODES:
        yield f"submissionMode: {mode} is none of {', '.join(SUBMISSION_MODES)}"
    if mode != "K8sJobMode" and {"submitterPodTemplate", "submitterConfig"} & set(spec):
        yield f"submissionMode {mode} starts no submitter, and one is described"
    if mode == "InteractiveMode" and spec.get("backoffLimit"):
        yield "backoffLimit: an interactive job is not tried again"
    if "submitterPodTemplate" in spec:
        policy = spec["submitterPodTemplate"]["spec"].get("restartPolicy", "Always")
        if policy not in ("Never", "OnFailure"):
            yield f"submitter: restartPolicy {policy}; expected Never or OnFailure"


def tries(manifest: Manifest) -> Iterator[str]:
    """A negative number is refused by the operator, in the log that nobody reads."""
    if manifest["kind"] != "RayJob":
        return
    if manifest["spec"].get("backoffLimit", 0) < 0:
        yield "backoffLimit: expected 0 or more"
    if manifest["spec"].get("activeDeadlineSeconds", 1) <= 0:
        yield "activeDeadlineSeconds: expected more than 0"


def upgrade(manifest: Manifest) -> Iterator[str]:
    """The definition takes any word as type; the service's own name comes from the operator."""
    if manifest["kind"] != "RayService":
        return
    kind = manifest["spec"].get("upgradeStrategy", {}).get("type", "NewCluster")
    if kind not in UPGRADES:
        yield f"upgradeStrategy.type: {kind} is none of {', '.join(UPGRADES)}"
    if cluster_of(manifest)["headGroupSpec"].get("headService", {}).get("metadata", {}).get("name"):
        yield "headGroupSpec.headService.metadata.name: must not be set"


RULES: tuple[Rule, ...] = (
    name,
    restart_policy,
    autoscaler_chosen_once,
    labels_need_autoscaler_v2,
    token,
    node_labels,
    resources_given_once,
    sizes,
    job_ends_with_its_cluster,
    submission,
    tries,
    upgrade,
)


def _autoscaler(manifest: Manifest) -> str | None:
    """Version of the autoscaler; None without one."""
    cluster = cluster_of(manifest)
    version: str = cluster.get("autoscalerOptions", {}).get("version", "v1")
    return version if cluster.get("enableInTreeAutoscaling") else None


def _groups_and_head(manifest: Manifest) -> Iterator[tuple[str, Manifest]]:
    yield "head", cluster_of(manifest)["headGroupSpec"]
    for group in groups_of(manifest):
        yield f"group {group['groupName']}", group


def _pods_of_ray(manifest: Manifest) -> Iterator[tuple[str, Manifest]]:
    return ((where, pod) for where, pod in pods_of(manifest) if where != "submitter")


def _variables(pod: Manifest) -> list[str]:
    return [variable["name"] for container in pod["spec"]["containers"] for variable in container.get("env", [])]
