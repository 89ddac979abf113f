"""Fixtures shared by all tests: the data folder, one local Ray, and quiet loopback settings."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.storage_fixtures import S3Server

pytest_plugins = ("tests.export_fixtures", "tests.storage_fixtures", "tests.fault_proxy", "tests.stream_fixtures")

# A busy machine is slow, not wrong.
settings.register_profile("vlm3", deadline=None)
settings.load_profile("vlm3")

# Before ray or torch is imported anywhere: every server stays on loopback.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["GLOO_SOCKET_IFNAME"] = "lo"
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")

REPOSITORY = Path(__file__).resolve().parent.parent
_no_data_skips: list[str] = []


def _data_folder() -> Path:
    """VLM3_TEST_DATA, or ../shared/data beside the repository; an empty variable means unset."""
    return Path(os.environ.get("VLM3_TEST_DATA") or REPOSITORY.parent / "shared" / "data").resolve()


@pytest.fixture
def data_dir(request: pytest.FixtureRequest) -> Path:
    """The folder of real posed images; the test is skipped, and counted, where it does not exist."""
    folder = _data_folder()
    if not (folder / "README.md").is_file():
        _no_data_skips.append(request.node.nodeid)
        pytest.skip(f"no real data at {folder}: set VLM3_TEST_DATA to a folder that holds it")
    return folder


@pytest.fixture(scope="session")
def ray_session(rclone_server: "S3Server") -> Iterator[None]:
    """One local Ray of 4 logical CPUs for the whole test session; its workers reach `rclone_server`."""
    import ray

    folder = Path(tempfile.mkdtemp(prefix="vr", dir="/tmp"))
    os.environ["RAY_TMPDIR"] = str(folder)
    with pytest.MonkeyPatch.context() as patch:
        # Workers inherit what is set when their node starts, as on a cluster.
        for name, value in rclone_server.environment.items():
            patch.setenv(name, value)
        ray.init(address="local", num_cpus=4, include_dashboard=True, log_to_driver=True, _temp_dir=str(folder))
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests could not run for want of data."""
    terminalreporter.write_line(f"skipped for want of data: {len(_no_data_skips)} (data folder: {_data_folder()})")
