"""Intervals over HTTP: the library's for the same model, and only from a model that was calibrated."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray import serve
from starlette.testclient import TestClient

from serve.app import DepthService, ServeConfig, api
from serve.limits import DEPTH_PATH
from serve.schemas import DepthResponse, Intrinsics
from vlm3.asking.calibration import LEVELS, Calibration, calibration_file
from vlm3.asking.spec import AskSpec
from vlm3.infer.loading import load_predictor
from vlm3.models.export import export_model
from vlm3.scenes.schema import Frame
from vlm3.tasks.depth.answering import answer_depth
from vlm3.tasks.depth.task import AskedDepth
from vlm3.tasks.spec_file import spec_json

POINTS = [[10.0, 20.0], [48.5, 30.25], [80.0, 60.0], [500.0, 3.0]]
CALIBRATION = Calibration(levels=LEVELS, margins_log_m=(0.0, 0.02, 0.04, 0.06, 0.1, 0.2), answers=99, images=9)


@pytest.fixture(scope="module")
def calibrated_dir(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers with numbers."""
    from tests.asked_models import TASK

    ask = AskSpec((AskedDepth(focal_px=40, ask=TASK.config),))
    folder = tmp_path_factory.mktemp("calibrated") / "export"
    beside = {"vlm3.json": spec_json(ask), **calibration_file(CALIBRATION)}
    return export_model(trained.model, None, trained.directory, folder, beside)


@contextmanager
def client_of(export_dir: Path) -> Iterator[TestClient]:
    """The application as a replica runs it; Ray Serve, which finds the replica of a request, is left out."""
    service = DepthService.__bases__[0](ServeConfig(runs_dir=str(export_dir.parent), model=str(export_dir)), "here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serve, "get_replica_context", lambda: SimpleNamespace(servable_object=service))
        service._loaded.result()
        with TestClient(api, raise_server_exceptions=False) as client:
            yield client


def post(client: TestClient, frame: Frame, **more: Any) -> Any:
    data = {"points": json.dumps(POINTS), "intrinsics": Intrinsics.of(frame.camera).model_dump_json(), **more}
    return client.post(DEPTH_PATH, files={"image": ("a", frame.encoded_image)}, data=data)


@pytest.mark.floats
@pytest.mark.parametrize("level", [0.5, 0.9, 0.925])
def test_the_served_interval_is_the_librarys(calibrated_dir: Path, frame: Frame, level: float) -> None:
    predictor = load_predictor(calibrated_dir, "cpu")
    assert predictor.calibration == CALIBRATION
    expected = answer_depth(predictor, frame.encoded_image, frame.camera, np.array(POINTS), spreads=True)
    with client_of(calibrated_dir) as client:
        body = DepthResponse.model_validate_json(post(client, frame, interval=str(level)).content)
        plain = DepthResponse.model_validate_json(post(client, frame).content)
    named = 0
    for point, meant in zip(body.points, expected, strict=True):
        if meant.spread is None:
            assert point.status == "outside" and point.interval_m is None and point.p_readable is None
            continue
        ends = meant.spread.intervals_m(CALIBRATION, level)
        assert point.p_readable == pytest.approx(meant.spread.asked.readable, abs=1e-3)
        assert ends is not None and point.interval_m is not None
        assert point.interval_m.z_depth_m == pytest.approx(tuple(ends[0]), rel=1e-2)
        assert point.interval_m.ray_depth_m == pytest.approx(tuple(ends[1]), rel=1e-2)
        low, high = point.interval_m.ray_depth_m
        named += low < high
    assert named == 3
    assert [(p.text, p.z_depth_m) for p in plain.points] == [(p.text, p.z_depth_m) for p in body.points]
    assert all(point.interval_m is None and point.p_readable is None for point in plain.points)


@pytest.mark.parametrize("interval", ["0.2", "0.99", "1", "nan", "sure"])
def test_a_level_that_is_not_promised_is_refused(calibrated_dir: Path, frame: Frame, interval: str) -> None:
    with client_of(calibrated_dir) as client:
        response = post(client, frame, interval=interval)
    assert response.status_code == 422 and "'interval'" in response.json()["error"]


def test_a_model_that_was_not_calibrated_says_so(export_dir: Path, frame: Frame) -> None:
    with client_of(export_dir) as client:
        response = post(client, frame, interval="0.9")
        assert response.status_code == 422 and "not calibrated" in response.json()["error"]
        assert post(client, frame).status_code == 200
