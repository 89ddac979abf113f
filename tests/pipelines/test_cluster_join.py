"""A cluster that cannot be joined is told apart within seconds."""

import socket
import subprocess
import sys

import pytest

from tests.job_runs import ROOT, job_environment

ASK = "import ray.util; print(ray.util.get_node_ip_address())"
JOIN = "from pipelines.cluster import connect; from vlm3.job import run_job; run_job(connect)"


def python(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A script in a shell that has not said that Ray is to stay on loopback."""
    environment = job_environment({}, **({"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"} | variables))
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": f"{ROOT}/platform:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_ray_on_loopback_that_is_looked_for_elsewhere_is_named_with_the_variable_that_helps() -> None:
    own = python(ASK).stdout.strip()
    if own == "127.0.0.1":
        pytest.skip("this machine has no network address beside loopback")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        done = python(JOIN, RAY_ADDRESS=address)
    assert done.returncode == 2
    assert f"RAY_ADDRESS={address}: that Ray listens on loopback only" in done.stderr
    assert f"looked for at {own}" in done.stderr and "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0" in done.stderr


def test_where_nothing_listens_no_time_is_lost() -> None:
    done = python(JOIN, RAY_ADDRESS="127.0.0.1:1")
    assert done.returncode == 2 and "cannot join a Ray cluster there" in done.stderr
