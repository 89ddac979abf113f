"""The main job on real frames: ingested to a real S3 server, mixed with rendered rooms, over a store on a bad day."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.ingest import IngestConfig, ingest
from tests.fault_proxy import Fault, Faults, fault_proxy
from tests.storage_fixtures import S3Server, make_bucket
from vlm3.scenes.reader import open_reader
from vlm3.train.checkpoint import read_state
from vlm3.train.resume import latest_checkpoint

REPOSITORY = Path(__file__).resolve().parents[2]
STEPS, BATCH = 16, 40
SHARES = {"rgbd_7scenes": 0.5, "rgbd_hololens": 0.3, "rooms": 0.2}
BAD_DAY = {Fault.SLOW_DOWN: 0.05, Fault.RESET: 0.01, Fault.TRUNCATED: 0.02, Fault.SLOW: 0.02}
pytestmark = [pytest.mark.long, pytest.mark.usefixtures("ray_session")]


@pytest.fixture
def bucket(
    data_dir: Path, rclone_server: S3Server, use_s3: Callable[[S3Server], None], request: pytest.FixtureRequest
) -> str:
    """The three packs, ingested into a bucket of the test's own."""
    use_s3(rclone_server)
    name = f"packs{abs(hash(request.node.name)) % 10**9}"
    make_bucket(rclone_server, name)
    uri = f"s3://{name}"
    for name, role in (("rgbd_7scenes", "train"), ("rgbd_hololens", "train"), ("depth_ibims1", "eval")):
        done = ingest(open_reader(data_dir / name, name), f"{uri}/{name}", IngestConfig(role=role))
        assert done.rejections == ()
    return uri


def train(bucket: str, runs: Path, server: S3Server, *extra: str) -> subprocess.CompletedProcess[str]:
    settings = [f"sources.{name}.uri={bucket}/{name}" for name in ("rgbd_7scenes", "rgbd_hololens", "depth_ibims1")]
    settings += ["sources.rooms.render.scenes=24", f"train.steps={STEPS}", "train.cpus_per_worker=0.5"]
    settings += ["train.checkpoint_every_steps=8", "evaluation.images=6", "evaluation.every_steps=16", *extra]
    options = [item for setting in settings for item in ("--set", setting)]
    command = [sys.executable, "jobs/train.py", "jobs/recipes/rgbd_rooms.yaml", "--name", "real", "--runs", str(runs)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "AWS_"))}
    return subprocess.run(
        [*command, *options],
        cwd=REPOSITORY,
        env=environment | server.environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


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
    assert done.returncode == 2
    assert "marked eval" in done.stderr.splitlines()[-1] and "depth_ibims1" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "train").exists()
