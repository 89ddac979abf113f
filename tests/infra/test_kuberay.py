"""infra/kuberay: every folder builds, and neither schemas nor the operator's rules have anything against it."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.infra.kuberay_faults import faults
from tests.infra.kuberay_manifests import APPLIED, FOLDER, Manifest, built, cluster_of, groups_of, name_of, pods_of
from tests.infra.kuberay_pod_rules import SECRETS

KINDS = {
    "disk": ["PersistentVolumeClaim/runs"],
    "mlflow": ["ConfigMap/mlflow-auth", "Deployment/mlflow", "PersistentVolumeClaim/mlflow", "Service/mlflow"],
    "base": ["RayCluster/vlm3"],
    "overlays/gpu": ["ConfigMap/placement", "RayJob/train"],
    "overlays/spot": ["ConfigMap/placement", "RayJob/train"],
    "overlays/queue": ["ConfigMap/placement", "RayJob/train"],
    "overlays/serve": ["RayService/depth"],
}


def only(folder: str, kind: str) -> Manifest:
    """The one object of a kind."""
    (found,) = [manifest for manifest in built(folder) if manifest["kind"] == kind]
    return found


@pytest.mark.parametrize("folder", APPLIED)
def test_nothing_is_wrong_with_what_is_applied(folder: str) -> None:
    assert faults(built(folder)) == []


@pytest.mark.parametrize("folder", APPLIED)
def test_an_overlay_brings_its_own_objects_and_no_disk_that_deleting_it_would_delete(folder: str) -> None:
    names = [name_of(manifest) for manifest in built(folder)]
    assert sorted(name for name in names if not name.startswith("ConfigMap/mlflow-auth-")) == [
        name for name in KINDS[folder] if name != "ConfigMap/mlflow-auth"
    ]


def test_every_folder_that_can_be_applied_is_tested() -> None:
    kinds = [file for file in FOLDER.rglob("kustomization.yaml") if "\nkind: Kustomization\n" in file.read_text()]
    assert {str(file.parent.relative_to(FOLDER)) for file in kinds} == set(APPLIED)


def test_groups_start_from_zero_and_the_second_autoscaler_reads_their_labels() -> None:
    cluster = cluster_of(only("overlays/gpu", "RayJob"))
    assert cluster["autoscalerOptions"]["version"] == "v2"
    assert [(group["minReplicas"], group["labels"]) for group in cluster["workerGroupSpecs"]] == [
        (0, {"pool": "cpu"}),
        (0, {"pool": "gpu"}),
    ]


def test_on_spot_nodes_run_all_workers_and_never_the_head() -> None:
    train = only("overlays/spot", "RayJob")
    spot = {"cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority"}
    for group in groups_of(train):
        pod = group["template"]["spec"]
        assert {one["operator"] for one in _expressions(pod)} == {"In"}, group["groupName"]
        assert spot <= {toleration["key"] for toleration in pod["tolerations"]}, group["groupName"]
    head = cluster_of(train)["headGroupSpec"]["template"]["spec"]
    terms = head["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert len(terms) == 1, "several terms: a node has to match only one of them"
    assert {one["operator"] for one in _expressions(head)} == {"NotIn"}
    worker = groups_of(train)[0]["template"]["spec"]
    assert [one["key"] for one in _expressions(head)] == [one["key"] for one in _expressions(worker)]


@pytest.mark.parametrize("where", ["head", "submitter"])
def test_a_pod_that_may_not_be_lost_on_a_spot_node_is_caught(where: str) -> None:
    manifests = built("overlays/spot")
    (train,) = [manifest for manifest in manifests if manifest["kind"] == "RayJob"]
    assert train["spec"]["submissionMode"] == "K8sJobMode"
    pod = dict(pods_of(train))[where]["spec"]
    affinity = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    elsewhere = {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}
    everywhere = {**affinity, "nodeSelectorTerms": [*affinity["nodeSelectorTerms"], elsewhere]}
    one_cloud_less = {"nodeSelectorTerms": [{"matchExpressions": _expressions(pod)[1:]}]}
    for mistake in (None, everywhere, one_cloud_less):
        pod["affinity"] = {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": mistake} if mistake else {}
        }
        (found,) = faults(manifests)
        assert f"{where}: may start on a node that the cloud takes back: cloud.google.com/gke-spot=true" in found


def test_a_job_that_leaves_its_submitter_to_the_operator_is_caught() -> None:
    manifests = built("overlays/spot")
    (train,) = [manifest for manifest in manifests if manifest["kind"] == "RayJob"]
    del train["spec"]["submitterPodTemplate"]
    (found,) = faults(manifests)
    assert "the submitter may start on a node" in found


def test_image_namespace_and_storage_class_are_set_in_one_place(tmp_path: Path) -> None:
    copy = tmp_path / "kuberay"
    shutil.copytree(FOLDER, copy)
    site = copy / "components" / "site" / "kustomization.yaml"
    text = site.read_text()
    edits = {"registry.example.com": "other.test", "namespace: vlm3": "namespace: ours", "shared-files": "efs"}
    for old, new in edits.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    site.write_text(text)
    for folder in APPLIED:
        for manifest in built(folder, copy):
            assert manifest["metadata"]["namespace"] == "ours"
            for where, pod in pods_of(manifest):
                images = {container["image"].partition("/")[0] for container in pod["spec"]["containers"]}
                assert images == {"other.test"}, f"{folder}: {name_of(manifest)}: {where}"
    (claim,) = built("disk", copy)
    assert (claim["spec"]["storageClassName"], claim["spec"]["accessModes"]) == ("efs", ["ReadWriteMany"])


def test_the_readme_names_every_folder_and_secret_and_its_overlay_builds(tmp_path: Path) -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [word for word in (*APPLIED, *SECRETS) if f"\n| `{word}` |" not in readme.replace("   |", "|")] == []
    copy = tmp_path / "kuberay"
    shutil.copytree(FOLDER, copy)
    (example,) = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    (copy / "overlays" / "mine").mkdir()
    (copy / "overlays" / "mine" / "kustomization.yaml").write_text(example, encoding="utf-8")
    mine = built("overlays/mine", copy)
    assert faults(mine) == []
    assert [found["spec"]["backoffLimit"] for found in mine if found["kind"] == "RayJob"] == [10]


def test_no_secret_is_written_down() -> None:
    everything = json.dumps([built(folder) for folder in APPLIED]).lower()
    assert '"kind": "secret"' not in everything
    assert not [word for word in ("password", "auth_token", "secret_key") if word in everything]


def _expressions(pod: Manifest) -> list[Manifest]:
    affinity = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return [expression for term in affinity["nodeSelectorTerms"] for expression in term["matchExpressions"]]
