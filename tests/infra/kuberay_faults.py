"""All that is wrong with the objects of one folder: definitions, Kubernetes' schemas and every rule."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate
from kubernetes_validate.utils import SchemaNotFoundError

from tests.infra.closed_schema import schema_faults
from tests.infra.kuberay_manifests import APPLIED, RAY_KINDS, Manifest, built, name_of
from tests.infra.kuberay_operator_rules import RULES, cluster_of_its_own
from tests.infra.kuberay_our_rules import (
    head_without_work,
    job,
    one_of_all,
    queue,
    runs_are_shared,
    served,
    stays_on_regular_nodes,
)
from tests.infra.kuberay_pod_rules import Present, pod_faults

KUBERNETES = "1.37"


def faults(manifests: list[Manifest]) -> list[str]:
    """What is wrong with these objects, applied after `disk` and `mlflow`."""
    others = [manifest for folder in APPLIED[:2] for manifest in built(folder)]
    present = Present.among(manifests + others)
    broken = [f"{name_of(manifest)}: {fault}" for manifest in manifests for fault in _of_schema(manifest)]
    if broken:  # the rules read what the schemas promise
        return broken
    ruled = [
        f"{name_of(manifest)}: {fault}" for manifest in manifests for fault in _of_rules(manifest, manifests, present)
    ]
    return ruled or list(one_of_all(manifests))


def _of_schema(manifest: Manifest) -> Iterator[str]:
    if manifest["kind"] in RAY_KINDS:
        yield from schema_faults(manifest)
        return
    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
    except SchemaNotFoundError as error:
        yield str(error.message)


def _of_rules(manifest: Manifest, beside: list[Manifest], present: Present) -> Iterator[str]:
    if manifest["kind"] not in RAY_KINDS:
        yield from pod_faults(manifest, present)
        return
    alone = list(cluster_of_its_own(manifest))
    if alone:  # nothing to look at
        yield from alone
        return
    yield from pod_faults(manifest, present)
    for rule in (*RULES, head_without_work, stays_on_regular_nodes, runs_are_shared, queue):
        yield from rule(manifest)
    if manifest["kind"] == "RayService":
        yield from served(manifest)
    if manifest["kind"] == "RayJob":
        config_maps = {found["metadata"]["name"]: found["data"] for found in beside if found["kind"] == "ConfigMap"}
        with tempfile.TemporaryDirectory() as folder:
            yield from job(manifest, config_maps, Path(folder))
