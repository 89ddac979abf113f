"""A port is refused when anybody listens on it, also where it is shared; and is free again when they end."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serve.ports import require_free_port
from tests.job_runs import OWN_RAY, refused, run_job
from vlm3.errors import ConfigError


@contextmanager
def listener(host: str, reuse: bool) -> Iterator[int]:
    with socket.socket() as other:
        if reuse:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind((host, 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("reuse", [False, True], ids=["alone", "shares its port"])
def test_a_port_in_use_is_refused_and_free_again_when_its_user_ends(host: str, reuse: bool) -> None:
    with listener(host, reuse) as port:
        for asked in ("127.0.0.1", "localhost", "0.0.0.0"):
            with pytest.raises(
                ConfigError, match=f"{asked}:{port} is in use by another process: stop it or give --port"
            ):
                require_free_port(asked, port)
    require_free_port("127.0.0.1", port)


def test_connections_of_a_server_that_ended_do_not_hold_its_port() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()  # the side that closes first waits
        client.close()
    require_free_port("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("127.0.0.1", 0, "expected 1 to 65535"),
        ("127.0.0.1", 70_000, "expected 1 to 65535"),
        ("192.0.2.1", 8000, "cannot be listened on"),
        ("no such host", 8000, "cannot be listened on"),
    ],
)
def test_what_cannot_be_listened_on_is_one_line(host: str, port: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        require_free_port(host, port)


def test_the_job_says_so_before_it_looks_for_a_model_or_starts_ray(tmp_path: Path) -> None:
    with listener("127.0.0.1", reuse=True) as port:
        done = run_job(
            OWN_RAY, "serve_depth", "--port", port, VLM3_RUNS=str(tmp_path / "runs"), RAY_TMPDIR=str(tmp_path)
        )
    refused(done, f"127.0.0.1:{port} is in use by another process")
    assert [entry.name for entry in tmp_path.iterdir()] == ["runs"] and not list((tmp_path / "runs").iterdir())
