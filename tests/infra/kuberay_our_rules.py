"""What this project needs of a cluster: one image, a head without work, recipes that fit, a queue that starts."""

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ray._common.utils import import_attr
from ray.serve.schema import DeploymentSchema, HTTPOptionsSchema, ServeApplicationSchema, ServeDeploySchema
from ruamel.yaml import YAML

from serve.app import ServeConfig, build
from tests.infra.kuberay_autoscaler import worker_groups
from tests.infra.kuberay_manifests import RAY_KINDS, ROOT, Manifest, cluster_of, groups_of, pods_of
from vlm3.errors import UserError
from vlm3.train.recipe import Recipe, load_recipe

QUEUE = "kueue.x-k8s.io/"
MOST_GROUPS = 7
"""Kueue counts at most 8 kinds of pods, and the head is one."""
RUNS = "/runs"
SPOT_LABELS = {
    "cloud.google.com/gke-spot": "true",
    "eks.amazonaws.com/capacityType": "SPOT",
    "karpenter.sh/capacity-type": "spot",
    "kubernetes.azure.com/scalesetpriority": "spot",
}
"""What marks a node that the cloud may take back."""


def ray_version() -> str:
    """Version of Ray that constraints.txt pins."""
    (pin,) = re.findall(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    return str(pin)


def one_of_all(manifests: list[Manifest]) -> Iterator[str]:
    """Ray refuses nodes of another version, and reads what was pickled only with the same Python: one image for all."""
    images = {c["image"] for found in manifests for _, pod in pods_of(found) for c in pod["spec"]["containers"]}
    if len(images) > 1:
        yield f"several images: {', '.join(sorted(images))}"
    for manifest in manifests:
        if manifest["kind"] in RAY_KINDS and cluster_of(manifest).get("rayVersion") != ray_version():
            yield f"rayVersion: {cluster_of(manifest).get('rayVersion')}, constraints.txt has {ray_version()}"


def head_without_work(manifest: Manifest) -> Iterator[str]:
    """A decoder on the head would slow down what all nodes wait for."""
    if cluster_of(manifest)["headGroupSpec"].get("rayStartParams", {}).get("num-cpus") != "0":
        yield 'head: expected rayStartParams {num-cpus: "0"}'


def stays_on_regular_nodes(manifest: Manifest) -> Iterator[str]:
    """Without its head a cluster has ended, and without its submitter a try of a job."""
    pods = dict(pods_of(manifest))
    if manifest["kind"] == "RayJob" and "submitter" not in pods:
        yield "submitterPodTemplate: expected one, or the submitter may start on a node that the cloud takes back"
    for where in pods.keys() & {"head", "submitter"}:
        spec = pods[where]["spec"]
        affinity = spec.get("affinity", {}).get("nodeAffinity", {})
        required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {})
        # A node has to match one term only: each must keep away from every kind.
        for term in required.get("nodeSelectorTerms", []) or [{}]:
            kept_off = {
                (one["key"], value)
                for one in term.get("matchExpressions", [])
                if one["operator"] == "NotIn"
                for value in one["values"]
            }
            missing = [f"{key}={value}" for key, value in SPOT_LABELS.items() if (key, value) not in kept_off]
            if missing:
                yield f"{where}: may start on a node that the cloud takes back: {', '.join(missing)}"


def runs_are_shared(manifest: Manifest) -> Iterator[str]:
    """Every pod of Ray writes runs to the shared disk."""
    for where, pod in pods_of(manifest):
        container = pod["spec"]["containers"][0]
        mounted = {mount["mountPath"] for mount in container.get("volumeMounts", [])}
        variables = {variable["name"]: variable.get("value") for variable in container.get("env", [])}
        if where != "submitter" and (RUNS not in mounted or variables.get("VLM3_RUNS") != RUNS):
            yield f"{where}: VLM3_RUNS is not the shared disk, mounted at {RUNS}"


def queue(manifest: Manifest) -> Iterator[str]:
    """Kueue reads its labels from the object alone, and reserves a fixed number of pods for a job that waits."""
    labelled = [f"{where}: {QUEUE} label" for where, labels in _inner_labels(manifest) if _queued(labels)]
    yield from (f"{label}: only metadata.labels of the {manifest['kind']} are read" for label in labelled)
    if manifest["kind"] != "RayJob" or not _queued(manifest["metadata"].get("labels", {})):
        return
    if not manifest["spec"].get("suspend"):
        yield "suspend: expected true, or the job starts before Kueue sees it"
    if not manifest["spec"].get("shutdownAfterJobFinishes"):
        yield "shutdownAfterJobFinishes: Kueue refuses a job that keeps its cluster"
    if cluster_of(manifest).get("enableInTreeAutoscaling"):
        yield "enableInTreeAutoscaling: Kueue refuses it, since it reserves a fixed number of pods"
    names = [group["groupName"] for group in groups_of(manifest)]
    if len(names) > MOST_GROUPS or "head" in names:
        yield f"workerGroupSpecs: at most {MOST_GROUPS}, none of them named head: {', '.join(names)}"
    for group in groups_of(manifest):
        if not group.get("replicas"):
            yield f"group {group['groupName']}: no replicas, and nothing will add one"


def job(manifest: Manifest, config_maps: dict[str, dict[str, str]], folder: Path) -> Iterator[str]:
    """Another try is the same line, so the line has to continue the run; and what it asks for has to exist.

    Args:
        manifest: a RayJob.
        config_maps: the files of each ConfigMap.
        folder: an empty folder, for the files that the head mounts.
    """
    words = shlex.split(manifest["spec"].get("entrypoint", ""))
    if words[:2] != ["python", "jobs/train.py"] or len(words) < 3:
        yield "entrypoint: expected python jobs/train.py RECIPE …"
        return
    if "--continue" not in words or "--name" not in words:
        yield "entrypoint: expected --name NAME --continue, or a second try does not continue the first"
    parser = (ROOT / words[1]).read_text(encoding="utf-8")
    yield from (f"entrypoint: {word} is no option" for word in words if word[:2] == "--" and f'"{word}"' not in parser)
    overlays = [word for flag, word in pairwise(words) if flag == "--with"]
    mounted = _mounted(manifest, config_maps)
    missing = [overlay for overlay in overlays if overlay not in mounted]
    if missing:
        yield f"entrypoint: the head does not mount {', '.join(missing)}"
        return
    try:
        copies = [folder / f"{number}.yaml" for number in range(len(overlays))]
        for copy, overlay in zip(copies, overlays, strict=True):
            copy.write_text(mounted[overlay], encoding="utf-8")
        yield from _fits(load_recipe(ROOT / words[2], (), copies), manifest)
    except UserError as error:
        yield f"entrypoint: {error}"


def served(manifest: Manifest) -> Iterator[str]:
    """The definition takes serveConfigV2 as any text, and Ray ignores keys that it does not know."""
    try:
        config = YAML(typ="safe", pure=True).load(manifest["spec"].get("serveConfigV2", ""))
        deploy = ServeDeploySchema.model_validate(config)
    except (ValidationError, TypeError) as error:
        yield f"serveConfigV2: {error}"
        return
    yield from (f"serveConfigV2: {fault}" for fault in _unknown_keys(config))
    for application in deploy.applications:
        try:
            if import_attr(application.import_path) is not build:
                yield f"serveConfigV2: {application.import_path} is not the builder of this project"
            parsed = ServeConfig.parse(application.args, "args")
        except (ImportError, AttributeError, ValueError, UserError) as error:
            yield f"serveConfigV2: {application.import_path}: {error}"
            continue
        if parsed.runs_dir != RUNS:
            yield f"serveConfigV2: runs_dir {parsed.runs_dir}, the shared disk is at {RUNS}"


def _unknown_keys(config: dict[str, Any]) -> Iterator[str]:
    parts: list[tuple[str, dict[str, Any], type[BaseModel]]] = [("", config, ServeDeploySchema)]
    parts.append(("http_options.", config.get("http_options", {}), HTTPOptionsSchema))
    for application in config.get("applications", []):
        parts.append(("applications.", application, ServeApplicationSchema))
        parts += [("deployments.", part, DeploymentSchema) for part in application.get("deployments", [])]
    for where, part, model in parts:
        yield from (f"{where}{key} is no key of {model.__name__}" for key in part.keys() - model.model_fields.keys())


def _fits(recipe: Recipe, manifest: Manifest) -> Iterator[str]:
    """A recipe that the cluster cannot carry is refused when the job starts, after its nodes were paid for."""
    wanted, train = recipe.stream.decode.node_labels, recipe.train
    groups = worker_groups(manifest)
    if not any(wanted.items() <= group.labels.items() for group in groups.values()):
        yield f"recipe: no worker group has the labels {wanted} of stream.decode.node_labels"
    started = {group["groupName"]: group.get("replicas", 0) for group in groups_of(manifest)}

    def total(resource: str) -> float:
        return sum(started[name] * group.resources.get(resource, 0.0) for name, group in groups.items())

    if train.device == "cuda" and total("GPU") < train.workers:
        yield f"recipe: {train.workers} workers on GPUs, the groups start with {total('GPU'):g}"
    decoders = recipe.stream.read.cpus + recipe.stream.decode.cpus * (recipe.stream.decode.actors or 1)
    needed = train.workers * train.cpus_per_worker + decoders
    if total("CPU") < needed:
        yield f"recipe: needs {needed:g} CPUs, the groups start with {total('CPU'):g}"


def _mounted(manifest: Manifest, config_maps: dict[str, dict[str, str]]) -> dict[str, str]:
    """Path and text of each file of a ConfigMap in the head, where the job's process runs."""
    spec = cluster_of(manifest)["headGroupSpec"]["template"]["spec"]
    volumes = {volume["name"]: volume.get("configMap", {}).get("name") for volume in spec.get("volumes", [])}
    files = {}
    for mount in spec["containers"][0].get("volumeMounts", []):
        for file, text in config_maps.get(volumes.get(mount["name"], ""), {}).items():
            files[f"{mount['mountPath']}/{file}"] = text
    return files


def _inner_labels(manifest: Manifest) -> Iterator[tuple[str, dict[str, str]]]:
    for where, pod in pods_of(manifest):
        yield where, pod.get("metadata", {}).get("labels", {})
    for group in groups_of(manifest):
        yield f"group {group['groupName']}", group.get("labels", {})


def _queued(labels: dict[str, str]) -> bool:
    return any(key.startswith(QUEUE) for key in labels)
