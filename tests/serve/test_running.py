"""Readiness, through a model directory whose loading the test holds up; and neighbours on a port and on a cluster."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx2
import pytest
from ray import serve

from serve.app import ServeConfig, application
from serve.once import HOST, free_port
from serve.running import APPLICATION, running, wait_ready
from vlm3.errors import ConfigError


def test_readyz_is_503_until_the_model_is_loaded(ray_session: None, export_dir: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(export_dir, model)
    text = (model / "vlm3.json").read_text()
    (model / "vlm3.json").unlink()
    os.mkfifo(model / "vlm3.json")  # the replica waits here until somebody writes
    port = free_port()
    url = f"http://{HOST}:{port}"
    serve.start(proxy_location="HeadOnly", http_options={"host": HOST, "port": port})
    try:
        config = ServeConfig(runs_dir=str(tmp_path), model=str(model)).pinned()
        serve.run(application(config, "this one"))
        with httpx2.Client(base_url=url, trust_env=False) as client:
            assert client.get("/healthz").status_code == 200
            fields = {"image": ("a.png", b"x"), "points": (None, "[[1, 2]]")}
            for response in (client.get("/readyz"), client.post("/v1/depth", files=fields)):
                assert response.status_code == 503
                assert response.json() == {"error": "the model is being loaded; try again in a few seconds"}
        with pytest.raises(ConfigError, match="being loaded"):
            wait_ready(url, "this one", timeout_s=0.5)
        (model / "vlm3.json").write_text(text)
        wait_ready(url, "this one", timeout_s=60)
    finally:
        serve.shutdown()


def test_a_model_that_cannot_be_loaded_is_a_user_error_that_says_why(
    ray_session: None, export_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(export_dir, tmp_path / "model")
    (tmp_path / "model" / "vlm3.json").unlink()
    config = ServeConfig(runs_dir=str(tmp_path), model=str(tmp_path / "model"))
    with (
        pytest.raises(ConfigError, match=r"could not be loaded.*expected a model exported"),
        running(config, HOST, free_port()),
    ):
        pass


def test_a_server_that_does_not_exist_is_not_ready() -> None:
    with pytest.raises(ConfigError, match="is not ready"):
        wait_ready(f"http://{HOST}:{free_port()}", "this one", timeout_s=0.3)


class Older(BaseHTTPRequestHandler):
    """Another server of ours, which is ready."""

    def do_GET(self) -> None:
        body = b'{"status": "ok", "model": {"name": "vlm3-depth", "version": "3"}, "instance": "older"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def older_server() -> Iterator[int]:
    with HTTPServer((HOST, 0), Older) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_another_server_that_is_ready_is_not_taken_for_ours() -> None:
    with older_server() as port:
        url = f"http://{HOST}:{port}"
        wait_ready(url, "older", timeout_s=5)
        with pytest.raises(ConfigError, match="answered by another process: stop it or give --port"):
            wait_ready(url, "this one", timeout_s=5)


def test_a_port_in_use_is_refused_before_the_model_is_loaded(ray_session: None, export_dir: Path) -> None:
    config = ServeConfig(runs_dir=str(export_dir.parent), model=str(export_dir))
    with (
        older_server() as port,
        pytest.raises(ConfigError, match=rf"{HOST}:{port} is in use by another process"),
        running(config, HOST, port),
    ):
        pass
    assert not serve.status().applications


def neighbour() -> serve.Application:
    """An application of somebody else; its class goes to the replicas by value, not by this module's name."""

    @serve.deployment
    class Neighbour:
        def __call__(self) -> str:
            return "neighbour"

    return Neighbour.bind()


def test_a_serve_that_runs_is_joined_at_its_address_and_left_as_it_was(ray_session: None, export_dir: Path) -> None:
    config = ServeConfig(runs_dir=str(export_dir.parent), model=str(export_dir))
    port = free_port()
    serve.start(proxy_location="HeadOnly", http_options={"host": HOST, "port": port})
    try:
        serve.run(neighbour(), name="neighbour", route_prefix="/neighbour")
        with running(config, HOST, free_port()) as url:
            assert url == f"http://{HOST}:{port}"
            twice = rf"{APPLICATION} is served on this cluster already, at {url}"
            with pytest.raises(ConfigError, match=twice), running(config, HOST, free_port()):
                pass
            assert httpx2.get(f"{url}/readyz", trust_env=False).status_code == 200
        assert set(serve.status().applications) == {"neighbour"}
        assert httpx2.get(f"http://{HOST}:{port}/neighbour", trust_env=False).text == "neighbour"
    finally:
        serve.shutdown()


def test_a_serve_whose_root_is_taken_is_refused_and_left_as_it_was(ray_session: None, export_dir: Path) -> None:
    config = ServeConfig(runs_dir=str(export_dir.parent), model=str(export_dir))
    serve.start(proxy_location="HeadOnly", http_options={"host": HOST, "port": free_port()})
    try:
        serve.run(neighbour(), name="neighbour")
        taken = "has the application 'neighbour' at"
        with pytest.raises(ConfigError, match=taken), running(config, HOST, free_port()):
            pass
        assert set(serve.status().applications) == {"neighbour"}
    finally:
        serve.shutdown()


def test_applications_that_others_added_outlive_the_one_that_started_serve(ray_session: None, export_dir: Path) -> None:
    config = ServeConfig(runs_dir=str(export_dir.parent), model=str(export_dir))
    try:
        with running(config, HOST, free_port()):
            serve.run(neighbour(), name="neighbour", route_prefix="/neighbour")
        assert set(serve.status().applications) == {"neighbour"}
    finally:
        serve.shutdown()
