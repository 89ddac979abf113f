"""A training waits for the nodes that an autoscaler starts, and says what a cluster lacks that can have no more."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.capacity import Demand
from pipelines.cluster import free_port
from tests.job_runs import RayVariables, refused, run_job
from tests.ray_heads import SMALL, head_on_loopback
from vlm3.train.recipe import load_recipe

ROOMS = Path(__file__).resolve().parents[2] / "jobs" / "recipes" / "rooms.yaml"
HEAD = "f" * 51 + "00000"
NODE_CPUS, MOST_NODES = 2, 2


def test_what_a_training_needs_is_workers_and_a_stream() -> None:
    demand = Demand.of(load_recipe(ROOMS, ["train.workers=3", "train.cpus_per_worker=2", "stream.decode.actors=4"]))
    assert demand.total == {"CPU": 3 * 2 + 0.1 + 4 * 0.8}
    assert len(demand.stream) == 5
    on_gpus = Demand.of(load_recipe(ROOMS, ["train.workers=3", "train.device=cuda", "stream.decode.actors=null"]))
    assert on_gpus.total["GPU"] == 3 and len(on_gpus.stream) == 2


def autoscaling(port: int) -> dict[str, object]:
    """Configuration of an autoscaler whose head has no CPUs for work, and whose other nodes are processes here."""
    nodes = {"resources": {"CPU": NODE_CPUS, "object_store_memory": 200_000_000}, "max_workers": MOST_NODES}
    head = {"resources": {"CPU": 0}, "max_workers": 0}
    # Commands for machines that are reached by ssh; the keys have to be there.
    commands = [f"{kind}setup_commands" for kind in ("", "head_", "worker_")]
    commands += ["initialization_commands", "head_start_ray_commands", "worker_start_ray_commands"]
    return {name: [] for name in (*commands, "cluster_synced_files", "rsync_exclude", "rsync_filter")} | {
        "auth": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        "upscaling_speed": 1,
        "cluster_name": "processes",
        "max_workers": MOST_NODES,
        "idle_timeout_minutes": 5,
        "provider": {
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "head_node_id": HEAD,
            "launch_multiple": True,
            "gcs_address": f"127.0.0.1:{port}",
        },
        # The provider knows its head by this name only.
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": head | {"node_config": {}},
            "cpu": nodes | {"node_config": {}, "min_workers": 0},
        },
    }


@pytest.fixture(scope="module")
def scalable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayVariables]:
    """A cluster with no CPU that starts up to two nodes when asked."""
    port, config = free_port(), tmp_path_factory.mktemp("scalable") / "autoscaler.json"
    config.write_text(json.dumps(autoscaling(port)))
    provider = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_enable_autoscaler_v2": "1"}
    provider |= {"RAY_CLOUD_INSTANCE_ID": HEAD, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD}
    with head_on_loopback(f"--autoscaling-config={config}", cpus=0, port=port, **provider) as head:
        yield head.client


def train(scalable: RayVariables, runs: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    options = [item for setting in (*SMALL, *settings) for item in ("--set", setting)]
    return run_job(scalable, "train", "--name", "scaled", "--runs", runs, *options, timeout_s=150)


@pytest.mark.long
@pytest.mark.infra
def test_nodes_that_were_not_there_are_asked_for_and_train(scalable: RayVariables, tmp_path: Path) -> None:
    refused(train(scalable, tmp_path, "train.wait_for_nodes_s=0"), "the Ray cluster has 0", "CPUs")
    too_many = train(scalable, tmp_path, "train.workers=5", "train.cpus_per_worker=1", "train.global_batch=20")
    refused(too_many, "no nodes for 5 workers with 1 CPUs each", "lower train.workers")
    done = train(scalable, tmp_path)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "waiting for nodes: second" in done.stderr
    assert (tmp_path / "train" / "scaled" / "export" / "vlm3.json").is_file()


@pytest.mark.long
@pytest.mark.infra
def test_nodes_that_do_not_come_in_time_are_named(scalable: RayVariables, tmp_path: Path) -> None:
    # More than one node: even where one is up already, the second takes longer than a second.
    workers = ("train.workers=3", "train.cpus_per_worker=1", "train.global_batch=12")
    late = train(scalable, tmp_path, *workers, "train.wait_for_nodes_s=1")
    refused(late, "after 1 s the Ray cluster has", "of 3.9 CPUs", "train.wait_for_nodes_s is the limit")
