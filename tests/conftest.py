"""Settings and fixtures shared by all tests: quiet loopback, and one local Ray."""

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.storage_fixtures import S3Server

pytest_plugins = (
    "tests.left_out",
    "tests.groups",
    "tests.job_runs",
    "tests.asked_models",
    "tests.earlier",
    "tests.export_fixtures",
    "tests.storage_fixtures",
    "tests.fault_proxy",
    "tests.stream_fixtures",
)

# A busy machine is slow, not wrong. The large profile is for `make test-properties`, which says how many examples.
settings.register_profile("vlm3", deadline=None, max_examples=30)
settings.register_profile("large", deadline=None, max_examples=int(os.environ.get("VLM3_EXAMPLES", "200")))
settings.load_profile("vlm3")

# Before ray or torch is imported anywhere: every server stays on loopback.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["GLOO_SOCKET_IFNAME"] = "lo"
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
# The runs of tests are not for the server of whoever runs them.
os.environ.pop("MLFLOW_TRACKING_URI", None)

# Who starts the tests in the background of a shell starts them deaf to Ctrl-C, and so the jobs that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def ray_session(rclone_server: "S3Server") -> Iterator[None]:
    """One local Ray of 4 logical CPUs for the whole test session; its workers reach `rclone_server`."""
    import ray

    from pipelines.cluster import PROXY_PATIENCE_S, free_port

    folder = Path(tempfile.mkdtemp(prefix="vr", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", str(folder))
        with pytest.MonkeyPatch.context() as at_start:
            # Workers inherit what is set when their node starts, as on a cluster. Its own address too: beside another
            # worker's private Ray, parts of Ray would not know which of the two is theirs.
            port = free_port()
            address = {"RAY_ADDRESS": f"127.0.0.1:{port}", "RAY_GCS_SERVER_PORT": str(port)}
            for name, value in (rclone_server.environment | address | PROXY_PATIENCE_S).items():
                at_start.setenv(name, value)
            ray.init(address="local", num_cpus=4, include_dashboard=True, log_to_driver=True, _temp_dir=str(folder))
        yield
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def pytest_unconfigure() -> None:
    """Spare the end of this process, and so of the run, 10 s of collecting the garbage of what torch has loaded."""
    gc.freeze()
