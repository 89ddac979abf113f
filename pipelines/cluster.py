"""Join the Ray cluster we are in, or start a private one on loopback."""

import atexit
import logging
import os
import shutil
import socket
import tempfile
from pathlib import Path

from vlm3.errors import ConfigError
from vlm3.log import get_logger

log = get_logger(__name__)
ADDRESS = "RAY_ADDRESS"
MIN_LOGICAL_CPUS = 4
KNOCK_TIMEOUT_S = 5


def connect(num_cpus: int | None = None) -> None:
    """Connect this process to Ray; does nothing when it is connected already.

    Where RAY_ADDRESS is set (by the user, or by Ray inside a submitted job) that cluster is joined. Otherwise a private
    cluster starts on loopback, in its own folder below RAY_TMPDIR (default: the system's temporary folder), and ends
    with this process.

    Args:
        num_cpus: logical CPUs of a private cluster. They bound how many tasks run at once, not how much each computes;
            the default is the number of cores, at least 4, so that training workers and data tasks fit side by side.

    Raises:
        ConfigError: no cluster answers at RAY_ADDRESS.
    """
    import ray

    _quieten_ray_data()
    if ray.is_initialized():
        return
    address = os.environ.get(ADDRESS)
    if address:
        _join(address)
        return
    # Ray's socket paths are limited to 107 bytes, so the folder's own name is short.
    folder = Path(tempfile.mkdtemp(prefix="vlm3_", dir=os.environ.get("RAY_TMPDIR") or None))
    cpus = num_cpus or max(MIN_LOGICAL_CPUS, os.cpu_count() or 1)
    # The dashboard stays on: without it Ray Tune leaks placement groups.
    ray.init(
        address="local",
        num_cpus=cpus,
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        logging_level=logging.WARNING,
        _temp_dir=str(folder),
    )
    atexit.register(_end, folder)
    log.info("started Ray on this machine (%d logical CPUs)", cpus)


def _join(address: str) -> None:
    import ray

    try:
        _knock(address)
        ray.init(address=address, logging_level=logging.WARNING)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"{ADDRESS}={address}: cannot join a Ray cluster there ({error}); start one with `ray start --head`, give"
            f" this process the RAY_ variables it was started with, or unset {ADDRESS} to run on this machine alone"
        ) from error
    log.info("connected to the Ray cluster at %s", address)


def _knock(address: str) -> None:
    """Raise OSError when nothing listens at `host:port`; Ray itself would wait for minutes."""
    import ray.util

    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not separator or not port.isdigit():
        return  # "auto" and the like: Ray knows better
    # Ray takes a loopback address to mean this machine, and may listen on its network address only.
    hosts = [host, ray.util.get_node_ip_address()] if host in ("127.0.0.1", "localhost") else [host]
    for number, candidate in enumerate(hosts, start=1):
        try:
            socket.create_connection((candidate, int(port)), timeout=KNOCK_TIMEOUT_S).close()
            return
        except OSError:
            if number == len(hosts):
                raise


def _quieten_ray_data() -> None:
    """Ray Data's plans and notes go to its log file only; what it warns of is shown."""
    import ray.data  # noqa: F401 - sets its loggers up

    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)


def _end(folder: Path) -> None:
    """Stop the private cluster and remove its folder."""
    import ray

    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
