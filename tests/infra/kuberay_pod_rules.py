"""What Kubernetes refuses only when a pod starts, minutes after `kubectl apply` said that all is well."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.infra.kuberay_manifests import Manifest, pods_of

SECRETS = ("mlflow-client", "mlflow-server", "object-storage")
"""Made by the user: infra/kuberay/README.md names them."""


@dataclass(frozen=True, slots=True)
class Present:
    """Names of what pods may refer to."""

    claims: frozenset[str]
    config_maps: frozenset[str]
    secrets: frozenset[str]

    @classmethod
    def among(cls, manifests: list[Manifest]) -> "Present":
        """What is among these objects, with the secrets that users make."""

        def named(kind: str) -> frozenset[str]:
            return frozenset(found["metadata"]["name"] for found in manifests if found["kind"] == kind)

        return cls(named("PersistentVolumeClaim"), named("ConfigMap"), frozenset(SECRETS))


def pod_faults(manifest: Manifest, present: Present) -> Iterator[str]:
    """Faults of all pods that an object starts."""
    for where, pod in pods_of(manifest):
        for fault in (*_confinement(pod), *_resources(pod), *_references(pod, present)):
            yield f"{where}: {fault}"


def _confinement(pod: Manifest) -> Iterator[str]:
    """The pod security standard `restricted`, which namespaces may enforce."""
    for container in pod["spec"]["containers"]:
        context = pod["spec"].get("securityContext", {}) | container.get("securityContext", {})
        expected = {"runAsNonRoot": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        for key, value in expected.items():
            if context.get(key) != value:
                yield f"{container['name']}: securityContext.{key}: expected {value}, found {context.get(key)}"
        if context.get("runAsUser", 0) == 0:
            yield f"{container['name']}: securityContext.runAsUser: expected a number above 0"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{container['name']}: securityContext.seccompProfile.type: expected RuntimeDefault"


def _resources(pod: Manifest) -> Iterator[str]:
    """Memory above its request may be taken away at any time; Ray counts the CPUs of the limits."""
    for container in pod["spec"]["containers"]:
        asked, most = (container.get("resources", {}).get(key, {}) for key in ("requests", "limits"))
        missing = {"cpu", "memory"} - (set(asked) & set(most))
        if missing:
            yield f"{container['name']}: no request and limit of {', '.join(sorted(missing))}"
        for key in ("memory", "nvidia.com/gpu"):
            if asked.get(key) != most.get(key):
                yield f"{container['name']}: {key}: request {asked.get(key)} and limit {most.get(key)} differ"


def _references(pod: Manifest, present: Present) -> Iterator[str]:
    """A pod waits without end for a disk, a ConfigMap or a Secret that does not exist."""
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
    for volume in volumes.values():
        claim = volume.get("persistentVolumeClaim", {}).get("claimName")
        config_map = volume.get("configMap", {}).get("name")
        if claim is not None and claim not in present.claims:
            yield f"volume {volume['name']}: there is no claim {claim}"
        if config_map is not None and config_map not in present.config_maps:
            yield f"volume {volume['name']}: there is no ConfigMap {config_map}"
    for container in pod["spec"]["containers"]:
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"{container['name']}: mounts {mount['name']}, which is no volume of the pod"
        for source in container.get("envFrom", []):
            secret = source.get("secretRef", {}).get("name")
            if secret not in present.secrets:
                yield f"{container['name']}: nobody makes the Secret {secret}"
