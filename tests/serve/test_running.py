"""Readiness, through a model directory whose loading the test holds up."""

import os
import shutil
from pathlib import Path

import httpx2
import pytest
from ray import serve

from serve.app import ServeConfig, build
from serve.once import HOST, free_port
from serve.running import running, wait_ready
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
        serve.run(build({"runs_dir": str(tmp_path), "model": str(model)}))
        with httpx2.Client(base_url=url, trust_env=False) as client:
            assert client.get("/healthz").status_code == 200
            fields = {"image": ("a.png", b"x"), "points": (None, "[[1, 2]]")}
            for response in (client.get("/readyz"), client.post("/v1/depth", files=fields)):
                assert response.status_code == 503
                assert response.json() == {"error": "the model is being loaded; try again in a few seconds"}
        with pytest.raises(ConfigError, match="being loaded"):
            wait_ready(url, timeout_s=0.5)
        (model / "vlm3.json").write_text(text)
        wait_ready(url, timeout_s=60)
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
        wait_ready(f"http://{HOST}:{free_port()}", timeout_s=0.3)
