"""The real routes over a real form, in this process: what comes in is what is answered, or is refused by name."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from ray import serve
from starlette.testclient import TestClient

from serve.app import DepthService, ServeConfig, api
from serve.limits import DEPTH_PATH
from serve.names import FIELDS
from serve.schemas import DepthResponse, Intrinsics
from tests.image_files import turned, written
from vlm3.asking.predictor import Predictor
from vlm3.scenes.schema import Frame
from vlm3.storage.images import decode_rgb
from vlm3.tasks.depth.answering import answer_depth

POINTS = [[10.0, 20.0], [48.5, 30.25], [500.0, 3.0]]


@pytest.fixture(scope="module")
def client(export_dir: Path) -> Iterator[TestClient]:
    """The application as a replica runs it; Ray Serve, which finds the replica of a request, is left out."""
    config = ServeConfig(runs_dir=str(export_dir.parent), model=str(export_dir))
    service = DepthService.__bases__[0](config, "here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serve, "get_replica_context", lambda: SimpleNamespace(servable_object=service))
        service._loaded.result()
        with TestClient(api, raise_server_exceptions=False) as client:
            yield client


def post(client: TestClient, image: bytes, fields: dict[str, Any], **more: Any) -> Any:
    data = {key: value if isinstance(value, str) else json.dumps(value) for key, value in fields.items()}
    return client.post(DEPTH_PATH, files={"image": ("a", image)}, data=data, **more)


def given(frame: Frame) -> dict[str, Any]:
    return {"points": POINTS, "intrinsics": Intrinsics.of(frame.camera).model_dump_json()}


@pytest.mark.floats
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_turned_picture_is_answered_as_the_one_that_viewers_show(
    client: TestClient, predictor: Predictor, frame: Frame, kind: str, orientation: int
) -> None:
    encoded = turned(kind, orientation, decode_rgb(frame.encoded_image))
    shown = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))))
    response = post(client, encoded, {"points": POINTS, "horizontal_fov_deg": 60})
    assert response.status_code == 200, response.text
    body = DepthResponse.model_validate_json(response.content)
    assert (body.height_px, body.width_px) == shown.shape[:2]
    # The same picture without a tag.
    plain = DepthResponse.model_validate_json(
        post(client, written("PNG", shown), {"points": POINTS, "horizontal_fov_deg": 60}).content
    )
    assert [point.status for point in body.points] == [point.status for point in plain.points]
    if kind == "PNG" or orientation > 1:  # an upright JPEG is decoded at a smaller size
        assert body.points == plain.points


@pytest.mark.floats
def test_the_answer_is_the_librarys(client: TestClient, predictor: Predictor, frame: Frame) -> None:
    expected = answer_depth(predictor, frame.encoded_image, frame.camera, np.array(POINTS))
    body = DepthResponse.model_validate_json(post(client, frame.encoded_image, given(frame)).content)
    assert [(said.text, said.status) for said in body.points] == [(meant.text, meant.status) for meant in expected]
    assert (body.width_px, body.height_px) == (frame.camera.width_px, frame.camera.height_px)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fx": 70}, "unknown form field 'fx'; did you mean 'fx_px'?"),
        ({"k1": 0.1}, "unknown form field 'k1'; did you mean 'coefficients'?"),
        ({"fov": 60}, "unknown form field 'fov'; did you mean 'horizontal_fov_deg'?"),
        ({"points": None, "pionts": POINTS}, "unknown form field 'pionts'; did you mean 'points'?"),
        ({"intrinsics": ""}, "form field 'intrinsics' is empty"),
        ({"horizontal_fov_deg": ""}, "form field 'horizontal_fov_deg' is empty"),
        ({"intrinsics": None, "horizontal_fov_deg": "true"}, "'horizontal_fov_deg': Input should be a valid number"),
        ({"intrinsics": None, "horizontal_fov_deg": '"60"'}, "'horizontal_fov_deg': Input should be a valid number"),
        ({"intrinsics": None, "horizontal_fov_deg": "nan"}, "expected 1 to 170 degrees, found nan"),
        ({"intrinsics": None, "horizontal_fov_deg": "inf"}, "expected 1 to 170 degrees, found inf"),
    ],
    ids=str,
)
def test_what_is_not_declared_is_refused_in_one_sentence(
    client: TestClient, frame: Frame, change: dict[str, Any], message: str
) -> None:
    fields = {key: value for key, value in (given(frame) | change).items() if value is not None}
    refused(post(client, frame.encoded_image, fields), message)


def test_parts_under_other_names_and_twice_are_refused(client: TestClient, frame: Frame) -> None:
    image, points = ("image", ("a.png", frame.encoded_image)), ("points", (None, "[[1, 2]]"))
    wrong = [
        ([image, image, points], "form field 'image' is sent twice"),
        ([image, points, points], "form field 'points' is sent twice"),
        ([("file", image[1]), points], "unknown file 'file'; did you mean 'image'?"),
        ([image, points, ("depth", image[1])], "unknown file 'depth'"),
        ([image, ("points", ("p.json", b"[[1, 2]]"))], "form field 'points': expected text, found a file"),
        ([("image", (None, "photo.jpg")), points], "image: expected the bytes of a JPEG or PNG"),
    ]
    for files, message in wrong:
        refused(client.post(DEPTH_PATH, files=files), message)


@pytest.mark.parametrize("query", ["points=[[1,2]]", "horizontal_fov_deg=60", "fov=60&fov=60", "verbose"])
def test_a_query_is_refused(client: TestClient, frame: Frame, query: str) -> None:
    refused(
        client.post(
            f"{DEPTH_PATH}?{query}", files={"image": frame.encoded_image}, data=given(frame) | {"points": "[[1, 2]]"}
        ),
        "query parameter",
    )


def test_the_schema_declares_the_fields_that_are_let_in(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"].values()
    assert set(FIELDS) in [set(schema.get("properties", ())) for schema in schemas]


def refused(response: Any, message: str) -> None:
    assert (response.status_code, response.json().keys()) == (422, {"error"}), response.text
    error = response.json()["error"]
    assert message in error and "\n" not in error, error
