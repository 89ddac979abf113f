"""From no worker at all, Ray's autoscaler adds the pods that a recipe asks for, and no others."""

import pytest

from tests.infra.kuberay_autoscaler import Ask, added, worker_groups
from tests.infra.kuberay_manifests import Manifest, built, cluster_of

CPU_NODE = 8
TRAINER = Ask({"CPU": 4, "GPU": 1})
READER, DECODER = Ask({"CPU": 0.1}, {"pool": "cpu"}), Ask({"CPU": 0.8}, {"pool": "cpu"})
"""What the recipe of components/job asks Ray for."""


@pytest.fixture
def train() -> Manifest:
    (job,) = [manifest for manifest in built("overlays/gpu") if manifest["kind"] == "RayJob"]
    return job


def test_it_reads_resources_labels_and_bounds_of_the_groups(train: Manifest) -> None:
    groups = worker_groups(train)
    assert {name: (node.min_worker_nodes, node.max_worker_nodes) for name, node in groups.items()} == {
        "cpu": (0, 8),
        "gpu": (0, 8),
    }
    assert groups["cpu"].labels == {"pool": "cpu"} and groups["cpu"].resources["CPU"] == CPU_NODE
    assert "GPU" not in groups["cpu"].resources and groups["gpu"].resources["GPU"] == 1


def test_without_demands_nothing_runs(train: Manifest) -> None:
    assert added(train, [], []) == ({}, 0)


def test_decoders_get_cpu_nodes_and_workers_gpu_nodes(train: Manifest) -> None:
    assert added(train, [TRAINER], [READER, DECODER]) == ({"cpu": 1, "gpu": 1}, 0)
    assert added(train, [TRAINER] * 4, [READER] + [DECODER] * 12) == ({"cpu": 2, "gpu": 4}, 0)


def test_decoders_alone_start_no_gpu_node_however_many_they_are(train: Manifest) -> None:
    pods, unmet = added(train, [], [DECODER] * 200)
    assert pods == {"cpu": 8}
    assert unmet == 200 - 8 * 10


def test_the_head_takes_no_task(train: Manifest) -> None:
    cluster_of(train)["workerGroupSpecs"].clear()
    assert added(train, [], [Ask({"CPU": 0.1})]) == ({}, 1)


def test_a_label_that_no_group_has_is_never_met(train: Manifest) -> None:
    assert added(train, [], [Ask({"CPU": 0.1}, {"pool": "cpus"})]) == ({}, 1)
