"""Start the application on the connected Ray cluster, wait until it answers, and end it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from ray import serve

from serve.app import NOT_LOADED, ServeConfig, build
from vlm3.errors import ConfigError

READY_TIMEOUT_S = 600.0
"""A large model takes minutes to load."""
POLL_S = 0.2
APPLICATION = "vlm3-depth"


@contextmanager
def running(config: ServeConfig, host: str, port: int) -> Iterator[str]:
    """Serve while the block runs; gives the base URL once `/readyz` says 200. The gRPC proxy stays off.

    Raises:
        UserError: no such model, or it cannot be loaded.
    """
    application = build(config.model_dump(mode="json"))
    serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})
    try:
        serve.run(application, name=APPLICATION)
        url = f"http://{host}:{port}"
        wait_ready(url)
        yield url
    finally:
        serve.shutdown()


def wait_ready(url: str, timeout_s: float = READY_TIMEOUT_S) -> None:
    """Return once the server is ready.

    Raises:
        ConfigError: it is not within `timeout_s`, or its model cannot be loaded.
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
                return
            said = response.text
            if NOT_LOADED in said:
                break
        time.sleep(POLL_S)
    raise ConfigError(f"{url}/readyz is not ready: {said}")
