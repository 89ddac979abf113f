"""Join the Ray cluster that RAY_ADDRESS names, or start a private one on loopback."""

import atexit
import logging
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vlm3 import terminal
from vlm3.errors import ConfigError
from vlm3.log import get_logger

log = get_logger(__name__)
ADDRESS = "RAY_ADDRESS"
ON_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
LOOPBACK = ("127.0.0.1", "localhost")
GCS_PORT = "RAY_GCS_SERVER_PORT"
PROXY_PATIENCE_S = {"RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60"}
"""By default Ray Serve restarts a proxy that is not ready after 5 s, and gives up in the end. On a busy machine a proxy
takes that long."""
MIN_LOGICAL_CPUS = 4
KNOCK_TIMEOUT_S = 5
FOLDER = "RAY_TMPDIR"
SHORT_FOLDER = Path("/tmp")
PREFIX = "vlm3_"
QUIET_PORTS = range(24000, 32768)
"""Ports that nothing takes by itself: Linux gives connections those from 32768 on, Ray Client's servers use 23000 to
23999."""
PORTS_TRIED = 100
SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
"""Longest path of a Unix socket that the system accepts."""


def connect(num_cpus: int | None = None) -> None:
    """Connect this process to Ray; does nothing when it is connected already.

    If RAY_ADDRESS is set (by the user, or by Ray inside a submitted job), that cluster is joined. Otherwise a private
    cluster starts on loopback and ends with this process. It has its own folder below RAY_TMPDIR (default: the system's
    temporary folder, or /tmp if that path is too long for Ray's sockets).

    Args:
        num_cpus: logical CPUs of a private cluster. They bound how many tasks run at once, not how much each computes.
            Default: the number of cores, at least 4, so that training workers and data tasks fit side by side.

    Raises:
        ConfigError: no cluster answers at RAY_ADDRESS, or the folder of a private one cannot be made.
    """
    import ray

    _quieten_ray_data()
    if ray.is_initialized():
        return
    address = os.environ.get(ADDRESS)
    with _own_signals():
        if address:
            _join(address)
        else:
            _start(num_cpus or max(MIN_LOGICAL_CPUS, os.cpu_count() or 1))


def starts_its_own() -> bool:
    """Whether `connect` would start a private cluster, which has no more than this machine has."""
    import ray

    return not ray.is_initialized() and not os.environ.get(ADDRESS)


def _start(cpus: int) -> None:
    """Start a private cluster that ends with this process."""
    import ray

    folder = new_folder()
    atexit.register(_end, folder)
    with _variables_of_processes(folder):
        # The dashboard stays on: without it Ray Tune leaks placement groups.
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=True,
            dashboard_host="127.0.0.1",
            logging_level=logging.WARNING,
            _temp_dir=str(folder),
        )
    log.info("Ray on this machine, %d logical CPUs%s", cpus, terminal.where_the_log_is())


def new_folder() -> Path:
    """Make a new folder for a private cluster; the paths of its sockets are some 60 bytes longer than its parent's.

    Raises:
        ConfigError: the path in RAY_TMPDIR is too long for sockets, or the folder cannot be made.
    """
    given = os.environ.get(FOLDER)
    parent = Path(given or tempfile.gettempdir()).absolute()
    spare = SOCKET_PATH_BYTES - len(os.fsencode(_longest_socket(parent)))
    if spare < 0 and given:
        raise ConfigError(
            f"{FOLDER}={given}: {-spare} bytes too long for the paths of Ray's sockets; set {FOLDER} to a short path"
            f" such as {SHORT_FOLDER}"
        )
    if spare < 0:
        log.warning("%s is too long a path for Ray's sockets: its files go to %s (or %s)", parent, SHORT_FOLDER, FOLDER)
        parent = SHORT_FOLDER
    try:
        return Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    except OSError as error:
        raise ConfigError(
            f"{parent}: Ray's folder cannot be made there ({error.strerror}); set {FOLDER} to a short path that is"
            " there and may be written"
        ) from None


def _longest_socket(parent: Path) -> Path:
    """Path of the socket with the longest name that a private cluster below `parent` opens."""
    session = f"session_2026-01-01_00-00-00_000000_{os.getpid()}"
    return parent / f"{PREFIX}12345678" / session / "sockets" / "dash_MetricsHead"


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
    log.info("joined the Ray cluster at %s%s", address, terminal.where_the_log_is())


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's handler of SIGTERM: Ray's handler would end the process with exit code 15."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _variables_of_processes(folder: Path) -> Iterator[None]:
    """Set the environment of a private cluster's processes while the block starts it.

    They get the cluster's address and a longer timeout for Ray Serve's proxy. Parts of Ray connect to whatever cluster
    they find on their machine, for example the part that removes the placement groups of a training whose controller
    died; beside another cluster they would find the wrong one, or none. The port is chosen here because the processes
    of a node get their environment when the node starts. Ray's dashboard also opens sockets in the temporary folder: if
    that path is too long, the parent of the cluster's folder serves as its temporary folder.
    """
    port = free_port()
    chosen = {name: os.environ.get(name, value) for name, value in PROXY_PATIENCE_S.items()}
    given = {ADDRESS: f"127.0.0.1:{port}", GCS_PORT: str(port)} | chosen
    socket_in_tmp = Path(tempfile.gettempdir()) / "pymp-12345678" / "listener-12345678"
    if len(os.fsencode(socket_in_tmp)) > SOCKET_PATH_BYTES:
        given["TMPDIR"] = str(folder.parent)
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def labelled_cpus(labels: dict[str, str]) -> float:
    """Number of CPUs of the live nodes that have these labels."""
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"] and labels.items() <= node["Labels"].items()]
    return float(sum(node["Resources"].get("CPU", 0) for node in nodes))


def free_port() -> int:
    """Number of a loopback port that nothing uses at this moment.

    It is outside of the range from which the system serves connections: a program that starts for some seconds before
    it listens still finds the port free. Raises OSError when each port that was tried is in use.
    """
    # The seed of a training or a test would let two processes draw the same ports.
    for port in random.SystemRandom().sample(QUIET_PORTS, PORTS_TRIED):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    ports = f"{QUIET_PORTS.start} to {QUIET_PORTS.stop - 1}"
    raise OSError(f"no free port on 127.0.0.1: {PORTS_TRIED} of those from {ports} are in use")


def _knock(address: str) -> None:
    """Raise OSError when nothing listens where Ray is going to look; Ray itself would wait for minutes."""
    import ray.util

    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not separator or not port.isdigit():
        return  # "auto" and the like, which Ray resolves itself
    looked_at = host
    if host in LOOPBACK and not address.startswith("ray://"):
        # Unless ON_LOOPBACK is 0, Ray takes a loopback address for the machine's network address.
        looked_at = ray.util.get_node_ip_address()
    try:
        _reach(looked_at, port)
    except OSError as error:
        if looked_at != host:
            with suppress(OSError):
                _reach(host, port)
                raise ConfigError(
                    f"{ADDRESS}={address}: that Ray listens on loopback only, and from here it is looked for at"
                    f" {looked_at}; set {ON_LOOPBACK}=0 in this shell"
                ) from error
        raise


def _reach(host: str, port: str) -> None:
    """Raise OSError when nothing listens there."""
    socket.create_connection((host, int(port)), timeout=KNOCK_TIMEOUT_S).close()


def _quieten_ray_data() -> None:
    """Send Ray Data's plans and notes to its log file only; its warnings are still shown."""
    import ray.data  # noqa: F401 - sets up its loggers

    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)


def _end(folder: Path) -> None:
    """Stop the private cluster and remove its folder."""
    import ray

    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
