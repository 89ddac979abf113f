"""The main job on real frames: ingested to a real S3 server, mixed with rendered rooms, over a store on a bad day."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.ingest import IngestConfig, ingest
from tests.fault_proxy import Fault, Faults, fault_proxy
from tests.job_runs import OWN_RAY, refused, run_job
from tests.storage_fixtures import S3Server, make_bucket
from vlm3.sources.reader import open_reader
from vlm3.train.checkpoint import read_state
from vlm3.train.resume import latest_checkpoint

STEPS, BATCH = 16, 40
SHARES = {"rgbd_7scenes": 0.5, "rgbd_hololens": 0.3, "rooms": 0.2}
BAD_DAY = {Fault.SLOW_DOWN: 0.05, Fault.RESET: 0.01, Fault.TRUNCATED: 0.02, Fault.SLOW: 0.02}
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def bucket(ray_session: None, data_dir: Path, rclone_server: S3Server) -> Iterator[str]:
    """The three packs, ingested into a bucket."""
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in rclone_server.environment.items():
            patch.setenv(variable, value)
        make_bucket(rclone_server, "packs")
        for name, role in (("rgbd_7scenes", "train"), ("rgbd_hololens", "train"), ("depth_ibims1", "eval")):
            done = ingest(open_reader(data_dir / name, name), f"s3://packs/{name}", IngestConfig(role=role))
            assert done.rejections == ()
        yield "s3://packs"


def train(bucket: str, runs: Path, server: S3Server, *extra: str) -> subprocess.CompletedProcess[str]:
    """On a Ray of its own, all of whose processes see this store."""
    settings = [f"sources.{name}.uri={bucket}/{name}" for name in ("rgbd_7scenes", "rgbd_hololens", "depth_ibims1")]
    settings += ["sources.rooms.render.scenes=24", f"train.steps={STEPS}", "train.cpus_per_worker=0.5"]
    settings += ["train.checkpoint_every_steps=8", "evaluation.images=6", "evaluation.every_steps=16", *extra]
    options = [item for setting in settings for item in ("--set", setting)]
    asked = ("jobs/recipes/rgbd_rooms.yaml", "--name", "real", "--runs", runs, *options)
    return run_job(OWN_RAY, "train", *asked, timeout_s=500, **server.environment)


def test_real_and_rendered_frames_mix_exactly_and_the_store_may_fail(
    bucket: str, tmp_path: Path, rclone_server: S3Server
) -> None:
    with fault_proxy(rclone_server) as (proxy, server):
        proxy.reset(Faults(BAD_DAY, seed=1))
        done = train(bucket, tmp_path, server)
        met = Counter(proxy.met)
    assert done.returncode == 0, done.stderr[-4000:]
    assert met[Fault.SLOW_DOWN] > 0, "the store did fail"
    run_dir = tmp_path / "train" / "real"
    summary = json.loads((run_dir / "summary.json").read_text())
    for name, share in SHARES.items():
        assert summary[f"realised/{name}/depth"] == pytest.approx(share, abs=2 / (STEPS * BATCH))
    assert summary["mixture_worst_window_error"] < 0.4, "percentage points over any 512 samples"
    assert summary["samples_replaced"] == 0, "a store that fails spoils no sample"
    assert summary["loss_last"] < summary["loss_first"] - 1
    assert {"eval/depth_ibims1/delta1", "eval/depth_ibims1/constant_delta1", "eval/rooms/delta1"} <= summary.keys()
    state = read_state(latest_checkpoint(run_dir))
    assert (state.ledger.watermark, state.ledger.intervals) == (STEPS * BATCH, ())


def test_weight_for_the_benchmark_is_refused(bucket: str, tmp_path: Path, rclone_server: S3Server) -> None:
    done = train(bucket, tmp_path, rclone_server, "sources.depth_ibims1.weight=0.1")
    refused(done, "marked eval", "depth_ibims1")
    assert not (tmp_path / "train").exists()
