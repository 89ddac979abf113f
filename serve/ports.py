"""Checks that a port is free to listen on, before a model is loaded."""

import errno
import socket

from vlm3.errors import ConfigError

KNOCK_TIMEOUT_S = 1.0


def require_free_port(host: str, port: int) -> None:
    """Refuse a port of this machine that another process listens on.

    Ray Serve's proxy shares its port (SO_REUSEPORT). If another server does so as well, the kernel divides connections
    between the two. A socket that does not share its port, as here, finds any other listener.

    Raises:
        ConfigError: another process listens there, or host and port cannot be listened on.
    """
    if not 0 < port < 2**16:
        raise ConfigError(f"port {port}: expected 1 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            # Connections of a server that has just ended do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise port_in_use(host, port) from None
        raise ConfigError(f"{host}:{port} cannot be listened on ({error}): give another --host or --port") from None
    if _answers(host, port):
        raise port_in_use(host, port)


def port_in_use(host: str, port: int) -> ConfigError:
    """The error for a port that another process listens on."""
    return ConfigError(f"{host}:{port} is in use by another process: stop it or give --port")


def _answers(host: str, port: int) -> bool:
    """Whether a connection is accepted: a forwarded port accepts them without a listener on this machine."""
    try:
        with socket.create_connection((host, port), timeout=KNOCK_TIMEOUT_S) as connection:
            # If nothing listens, the kernel may choose this very port to connect from: the socket then meets itself.
            return bool(connection.getsockname() != connection.getpeername())
    except OSError:
        return False
