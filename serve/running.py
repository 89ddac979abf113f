"""Start the application on the connected Ray cluster, wait until it answers, and end it."""

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
"""A large model takes minutes to load."""
POLL_S = 0.2
APPLICATION = "vlm3-depth"
HEAD = "node:__internal_head__"


@contextmanager
def running(config: ServeConfig, host: str, port: int) -> Iterator[str]:
    """Serve while the block runs; gives the base URL once `/readyz` says 200. The gRPC proxy stays off.

    Where Ray Serve runs on the cluster already, the application is added to it, at its address and port; it and the
    applications of others go on when the block ends.

    Raises:
        UserError: no such model, it cannot be loaded, the port is taken, or the Serve that runs has no place for it.
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
    """Return once the server is ready.

    Raises:
        ConfigError: it is not within `timeout_s`, its model cannot be loaded, or somebody else answers at `url`.
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
    """Where a server on this host and port is asked."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _start(host: str, port: int) -> None:
    try:
        serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})
    except RuntimeError as error:
        # The head is another machine, or somebody was faster.
        if "Failed to bind" not in str(error):
            raise
        raise port_in_use(host, port) from None


def _serve_that_runs() -> ServeInstanceDetails | None:
    """The Serve of this cluster; None where there is none."""
    client = _get_global_client(raise_if_no_controller_running=False)
    return None if client is None else ServeInstanceDetails(**client.get_serve_details())


def _place_beside(others: ServeInstanceDetails, host: str, port: int) -> tuple[str, int]:
    """Host and port of the Serve that runs.

    Raises:
        ConfigError: it has no HTTP, or an application of this name or at this place.
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
    """Whether the proxy will listen on this machine."""
    here = ray.get_runtime_context().get_node_id()
    return any(node["NodeID"] == here and HEAD in node["Resources"] for node in ray.nodes())


def _instance(response: httpx2.Response) -> str | None:
    try:
        return Health.model_validate_json(response.content).instance
    except ValidationError:
        return None
