"""Start the application on the connected Ray cluster, wait until it answers, and stop it."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import ray
from pydantic import ValidationError
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeInstanceDetails

from serve.app import NOT_LOADED, ServeConfig, application
from serve.ports import port_in_use, require_free_port
from serve.schemas import Health
from vlm3.errors import ConfigError
from vlm3.log import get_logger

log = get_logger(__name__)
READY_TIMEOUT_S = 600.0
"""Generous, since a large model takes minutes to load."""
POLL_S = 0.2
APPLICATION = "vlm3-depth"
HEAD = "node:__internal_head__"


@contextmanager
def running(config: ServeConfig, host: str, port: int) -> Iterator[str]:
    """Serve while the block runs; yields the base URL once `/readyz` answers 200. The gRPC proxy stays off.

    If Ray Serve already runs on the cluster, the application is added to it, at its host and port. That Serve and its
    other applications keep running when the block ends.

    Raises:
        UserError: there is no such model, it cannot be loaded, the port is taken, or the running Serve has no place.
    """
    config = config.pinned()
    others = _serve_that_runs()
    if others is not None:
        host, port = _place_beside(others, host, port)
    elif _head_is_here():
        require_free_port(host, port)
    instance = secrets.token_hex(8)
    try:
        if others is None:
            _start(host, port)
        serve.run(application(config, instance), name=APPLICATION)
        url = base_url(host, port)
        wait_ready(url, instance)
        yield url
    finally:
        if others is None and not set(serve.status().applications) - {APPLICATION}:
            serve.shutdown()
        else:
            serve.delete(APPLICATION)


def wait_ready(url: str, instance: str, timeout_s: float = READY_TIMEOUT_S) -> None:
    """Wait until the server is ready.

    Raises:
        ConfigError: it is not ready within `timeout_s`, its model cannot be loaded, or another server answers at `url`.
    """
    deadline = time.monotonic() + timeout_s
    said = "nothing"
    while time.monotonic() < deadline:
        try:
            response = httpx2.get(f"{url}/readyz", timeout=10, trust_env=False)
        except httpx2.TransportError as error:
            said = str(error)
        else:
            if response.status_code == 200:
                if _instance(response) == instance:
                    return
                raise ConfigError(f"{url}/readyz is answered by another process: stop it or give --port")
            said = response.text
            if NOT_LOADED in said:
                break
        time.sleep(POLL_S)
    raise ConfigError(f"{url}/readyz is not ready: {said}")


def base_url(host: str, port: int) -> str:
    """URL of a server on this host and port."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _start(host: str, port: int) -> None:
    try:
        serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})
    except RuntimeError as error:
        # The port was not checked, since the head is another machine, or another process took it since.
        if "Failed to bind" not in str(error):
            raise
        raise port_in_use(host, port) from None


def _serve_that_runs() -> ServeInstanceDetails | None:
    """Details of the Serve that runs on this cluster; None if there is none."""
    client = _get_global_client(raise_if_no_controller_running=False)
    return None if client is None else ServeInstanceDetails(**client.get_serve_details())


def _place_beside(others: ServeInstanceDetails, host: str, port: int) -> tuple[str, int]:
    """Host and port of the Serve that runs already.

    Raises:
        ConfigError: it has no HTTP, or already an application with our name or our route.
    """
    options = others.http_options
    if options is None or others.proxy_location == "Disabled":
        raise ConfigError(
            "Ray Serve runs on this cluster without HTTP: serve on another cluster, or restart it with HTTP"
        )
    url = base_url(options.host, options.port)
    for name, other in others.applications.items():
        if name == APPLICATION:
            raise ConfigError(
                f"{name} is served on this cluster already, at {url}: ask it, or stop the job that serves it"
            )
        if other.route_prefix == "/":
            raise ConfigError(
                f"Ray Serve runs on this cluster and has the application {name!r} at {url}/, where this one would be:"
                f" delete it, give it another route_prefix, or unset RAY_ADDRESS to serve on this machine alone"
            )
    if (options.host, options.port) != (host, port):
        log.warning("Ray Serve runs on this cluster already: serving at its address, %s", url)
    return options.host, options.port


def _head_is_here() -> bool:
    """Whether this machine is the cluster's head, where the proxy will listen."""
    here = ray.get_runtime_context().get_node_id()
    return any(node["NodeID"] == here and HEAD in node["Resources"] for node in ray.nodes())


def _instance(response: httpx2.Response) -> str | None:
    try:
        return Health.model_validate_json(response.content).instance
    except ValidationError:
        return None
