"""The application over real HTTP: its answers are the library's, its refusals one sentence."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import ExifTags, Image

from serve.app import build
from serve.limits import MAX_BODY_BYTES
from serve.schemas import DepthResponse, Intrinsics
from tests.image_files import turned
from vlm3.asking.predictor import Predictor
from vlm3.errors import UserError
from vlm3.scenes.schema import Frame
from vlm3.tasks.depth.answering import answer_depth

POINTS = [[10.0, 20.0], [48.5, 30.25], [90.0, 70.0], [500.0, 3.0]]


def post(url: str, image: bytes | None, fields: dict[str, Any]) -> httpx2.Response:
    files = {} if image is None else {"image": ("a.png", image)}
    data = {key: value if isinstance(value, str) else json.dumps(value) for key, value in fields.items()}
    # A field sent as a file without a name keeps the form multipart when there is no image.
    files |= {key: (None, value) for key, value in data.items()}
    return httpx2.post(f"{url}/v1/depth", files=files, timeout=120, trust_env=False)


def given(frame: Frame) -> dict[str, Any]:
    return {"points": POINTS, "intrinsics": Intrinsics.of(frame.camera).model_dump_json()}


@pytest.mark.floats
def test_the_served_answer_is_the_librarys(url: str, predictor: Predictor, frame: Frame) -> None:
    expected = answer_depth(predictor, frame.encoded_image, frame.camera, np.array(POINTS))
    response = post(url, frame.encoded_image, given(frame))
    assert response.status_code == 200, response.text
    body = DepthResponse.model_validate_json(response.content)
    assert [point.status for point in body.points][-1] == "outside"
    for said, meant in zip(body.points, expected, strict=True):
        assert (said.text, said.status) == (meant.text, meant.status)
        assert (said.z_depth_m, said.ray_depth_m) == pytest.approx((meant.z_depth_m, meant.ray_depth_m))
    assert (body.model.name, body.model.version, body.intrinsics_source) == ("export", "local", "given")
    assert body.seconds > 0


def test_probes_answer_while_requests_wait(url: str, frame: Frame) -> None:
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(post, url, frame.encoded_image, given(frame)) for _ in range(6)]
        assert httpx2.get(f"{url}/healthz", trust_env=False).json() == {"status": "ok"}
        ready = httpx2.get(f"{url}/readyz", trust_env=False)
        texts = {json.dumps(future.result().json()["points"]) for future in asked}
    assert ready.status_code == 200 and ready.json()["model"] == {"name": "export", "version": "local"}
    assert len(texts) == 1


def test_intrinsics_come_from_the_field_of_view_or_from_exif(url: str) -> None:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 28
    encoded = io.BytesIO()
    Image.new("RGB", (96, 72), "gray").save(encoded, "JPEG", exif=exif)
    sources = [
        post(url, encoded.getvalue(), {"points": POINTS} | extra).json()["intrinsics_source"]
        for extra in ({}, {"horizontal_fov_deg": 65})
    ]
    assert sources == ["exif", "field_of_view"]


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"image": None}, 422, "image: expected the bytes of a JPEG or PNG"),
        ({"image": b"GIF89a"}, 415, "image: expected a JPEG or PNG"),
        ({"image": b"\x89PNG\r\n\x1a\n"}, 422, "PNG ends inside its header"),
        ({"image": b"\x89PNG\r\n\x1a\n" + b"\0" * 8 + (8000).to_bytes(4) * 2}, 413, "8000x8000 px"),
        ({"image": b"\x89PNG\r\n\x1a\n" + b"\0" * 8 + (96).to_bytes(4) * 2}, 422, "damaged PNG"),
        ({"image": b"\0" * (MAX_BODY_BYTES + 1)}, 413, "send a smaller image"),
        ({"points": None}, 422, "'points': Field required"),
        ({"points": "[[1, 2"}, 422, "points: expected JSON [[u, v], …]"),
        ({"points": []}, 422, "at least 1 item"),
        ({"points": [[1, 2]] * 257}, 422, "at most 256 items"),
        ({"points": [[1, 2, 3]]}, 422, "points: expected JSON"),
        ({"points": "[[NaN, 1]]"}, 422, "finite"),
        ({"intrinsics": None}, 422, "send intrinsics as JSON"),
        ({"intrinsics": {"fx_px": 70, "fy_px": 70, "cx_px": 4}}, 422, "cy_px"),
        ({"intrinsics": {"fx_px": -70, "fy_px": 70, "cx_px": 4, "cy_px": 4}}, 422, "fx_px"),
        ({"intrinsics": {"fx_px": 1e-6, "fy_px": 1e-6, "cx_px": 4, "cy_px": 4}}, 422, "check the intrinsics"),
        ({"horizontal_fov_deg": 65}, 422, "exclude each other"),
        ({"intrinsics": None, "horizontal_fov_deg": 200}, 422, "1 to 170 degrees"),
        ({"intrinsics": None, "horizontal_fov_deg": "wide"}, 422, "'horizontal_fov_deg'"),
        ({"camera_model": "OPENCV_FISHEYE"}, 422, "unknown form field 'camera_model'; did you mean 'distortion'?"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else None,
)
def test_a_wrong_request_is_refused_with_one_sentence(
    url: str, frame: Frame, change: dict[str, Any], status: int, message: str
) -> None:
    fields = given(frame) | {"image": frame.encoded_image} | change
    image = fields.pop("image")
    response = post(url, image, {key: value for key, value in fields.items() if value is not None})
    assert (response.status_code, response.json().keys()) == (status, {"error"}), response.text
    error = response.json()["error"]
    assert message in error and "\n" not in error and "Traceback" not in error


def test_a_turned_picture_is_answered_in_pixels_of_the_upright_one(url: str) -> None:
    body = post(url, turned("JPEG", 6), {"points": [[10, 60], [60, 10]], "horizontal_fov_deg": 60}).json()
    assert (body["width_px"], body["height_px"]) == (48, 64)
    assert [point["status"] == "outside" for point in body["points"]] == [False, True]


def test_other_bodies_methods_and_paths_are_refused(url: str) -> None:
    with httpx2.Client(base_url=url, trust_env=False) as client:
        body = client.post("/v1/depth", json={})
        assert (body.status_code, "multipart/form-data" in body.json()["error"]) == (415, True)
        for method, path, status in (("GET", "/v1/depth", 405), ("POST", "/v1/detph", 404), ("GET", "/", 404)):
            response = client.request(method, path)
            assert (response.status_code, "send POST /v1/depth" in response.json()["error"]) == (status, True)

        # No declared length: the bytes are counted as they come.
        def endless() -> Any:
            yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
            for _ in range(MAX_BODY_BYTES // (1 << 20) + 1):
                yield b"\0" * (1 << 20)

        header = {"Content-Type": "multipart/form-data; boundary=x"}
        large = client.post("/v1/depth", content=endless(), headers=header)
        assert (large.status_code, "smaller image" in large.json()["error"]) == (413, True)


def test_a_wrong_configuration_is_a_user_error_before_anything_starts(tmp_path: Path) -> None:
    wrong = [
        ({"model": str(tmp_path)}, "a directory with a config.json"),
        ({"modle": "x"}, "did you mean 'model'"),
        ({"replicas": 0}, "replicas"),
        ({}, "train a model first"),
    ]
    for args, message in wrong:
        with pytest.raises(UserError, match=message):
            build({"runs_dir": str(tmp_path)} | args)
