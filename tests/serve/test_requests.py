"""Fields of a form become a camera and points, without a server."""

import io
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from serve.requests import RequestError, read_request
from serve.schemas import Intrinsics
from tests.image_files import turned
from vlm3.geometry.camera import Camera, Distortion
from vlm3.scenes.schema import IntrinsicsSource

FINITE = st.floats(-1e6, 1e6)


def encoded(kind: str = "PNG", focal_mm: object = None, size: tuple[int, int] = (60, 40)) -> bytes:
    exif = Image.Exif()
    if focal_mm is not None:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = focal_mm
    stream = io.BytesIO()
    Image.new("RGB", size).save(stream, kind, exif=exif.tobytes())
    return stream.getvalue()


IMAGE = encoded()


@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=20))
def test_points_arrive_as_they_were_sent(points: list[tuple[float, float]]) -> None:
    request = read_request(IMAGE, json.dumps(points), None, 60.0)
    assert request.points_px.shape == (len(points), 2)
    assert request.points_px.tolist() == [list(point) for point in points]


@given(st.text(max_size=30))
def test_any_other_text_is_a_refusal_not_a_crash(text: str) -> None:
    for points, intrinsics in ((text, None), ("[[1, 2]]", text)):
        try:
            read_request(IMAGE, points, intrinsics, None if intrinsics is not None else 60.0)
        except RequestError as error:
            assert error.status == 422 and str(error)


@pytest.mark.parametrize(
    ("distortion", "coefficients"),
    [(Distortion.NONE, ()), (Distortion.BROWN, (0.1, 0.0, 0.0, 0.0, 0.01)), (Distortion.FISHEYE, (0.1, 0.0, 0.0, 0.0))],
)
def test_a_cameras_intrinsics_make_the_round_trip(distortion: Distortion, coefficients: tuple[float, ...]) -> None:
    camera = Camera(60, 40, 50.0, 51.0, 30.5, 19.5, distortion, coefficients)
    request = read_request(IMAGE, "[[1, 2]]", Intrinsics.of(camera).model_dump_json(), None)
    assert (request.camera, request.intrinsics_source) == (camera, IntrinsicsSource.GIVEN)


@pytest.mark.parametrize("coefficients", [[], [0.1], [0.1] * 6])
def test_coefficients_must_fit_the_lens(coefficients: list[float]) -> None:
    body = {"fx_px": 50, "fy_px": 50, "cx_px": 30, "cy_px": 20, "distortion": "brown", "coefficients": coefficients}
    with pytest.raises(RequestError, match="takes 4 or 5 or 8 coefficients"):
        read_request(IMAGE, "[[1, 2]]", json.dumps(body), None)


@given(st.floats(1, 170))
def test_the_field_of_view_spans_the_width(fov_deg: float) -> None:
    camera = read_request(IMAGE, "[[1, 2]]", None, fov_deg).camera
    assert math.isclose(2 * math.degrees(math.atan(camera.width_px / 2 / camera.fx_px)), fov_deg)
    assert (camera.cx_px, camera.cy_px, camera.fy_px) == (29.5, 19.5, camera.fx_px)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_gives_the_focal_length_by_the_diagonal(kind: str) -> None:
    # A 3:2 image is a scaled 36 × 24 mm film.
    request = read_request(encoded(kind, 24), "[[1, 2]]", None, None)
    assert request.intrinsics_source is IntrinsicsSource.EXIF
    assert math.isclose(request.camera.fx_px, 24 / 36 * 60)


@pytest.mark.parametrize("focal_mm", [None, 0, 60000])
def test_without_a_useful_focal_length_the_client_is_told_what_to_send(focal_mm: int | None) -> None:
    with pytest.raises(RequestError, match=r"send intrinsics as JSON.*or horizontal_fov_deg"):
        read_request(encoded("JPEG", focal_mm), "[[1, 2]]", None, None)


@given(st.binary(max_size=200), st.integers(20, 120))
def test_damaged_exif_is_a_refusal_not_a_crash(noise: bytes, at: int) -> None:
    whole = encoded("JPEG", 28)
    try:
        read_request(whole[:at] + noise + whole[at + len(noise) :], "[[1, 2]]", None, None)
    except RequestError as error:
        assert error.status in (413, 422)


@pytest.mark.parametrize(("cx_px", "cy_px"), [(60.0, 40.0), (179.5, 119.5), (30.0, -1.0), (59.5, 20.0)])
def test_the_k_of_another_size_is_refused(cx_px: float, cy_px: float) -> None:
    body = json.dumps({"fx_px": 100, "fy_px": 100, "cx_px": cx_px, "cy_px": cy_px})
    with pytest.raises(RequestError, match=r"lies outside the image of 60x40 px: do K and the image have") as raised:
        read_request(IMAGE, "[[1, 2]]", body, None)
    assert raised.value.status == 422


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_camera_is_that_of_the_upright_picture(kind: str, orientation: int) -> None:
    size = (48, 64) if orientation >= 5 else (64, 48)
    body = json.dumps({"fx_px": 50, "fy_px": 50, "cx_px": size[0] / 2, "cy_px": size[1] / 2})
    for intrinsics, fov_deg in ((body, None), (None, 60.0)):
        camera = read_request(turned(kind, orientation), "[[1, 2]]", intrinsics, fov_deg).camera
        assert (camera.width_px, camera.height_px) == size
    assert math.isclose(camera.fx_px, size[0] / 2 / math.tan(math.radians(30)))


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize(("cx_px", "cy_px"), [(31.5, 23.5), (33.0, 21.0), (60.0, 24.0)])
def test_the_k_of_a_picture_as_stored_is_refused_with_both_sizes(orientation: int, cx_px: float, cy_px: float) -> None:
    body = json.dumps({"fx_px": 50, "fy_px": 50, "cx_px": cx_px, "cy_px": cy_px})
    with pytest.raises(RequestError) as raised:
        read_request(turned("JPEG", orientation), "[[1, 2]]", body, None)
    assert "stored as 64x48 px" in str(raised.value) and f"orientation {orientation}" in str(raised.value)
    assert "upright picture, as viewers show it, of 48x64 px" in str(raised.value)
    assert raised.value.status == 422 and "ingest" not in str(raised.value)


@pytest.mark.parametrize("size", [(64, 48), (64, 62)])
def test_a_principal_point_off_the_centre_is_no_sign_of_a_turn(size: tuple[int, int]) -> None:
    encoded = turned("PNG", 6, np.zeros((size[1], size[0], 3), np.uint8))
    shown_px = (size[1] / 2 + 1.5, size[0] / 2 - 2)
    body = json.dumps({"fx_px": 50, "fy_px": 50, "cx_px": shown_px[0], "cy_px": shown_px[1]})
    assert read_request(encoded, "[[1, 2]]", body, None).camera.cx_px == shown_px[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"foacl_px": 50}, "unknown key 'foacl_px'; did you mean 'fx_px'?"),
        ({"fl_x": 50}, "unknown key 'fl_x'; did you mean 'fx_px'?"),
        ({"k1": 0.1}, "unknown key 'k1'; did you mean 'coefficients'?"),
        ({"camera_model": "OPENCV"}, "unknown key 'camera_model'; did you mean 'distortion'?"),
        ({"w": 60}, "unknown key 'w': the size is the picture's own"),
        ({"skew": 0}, "unknown key 'skew'; valid: coefficients, cx_px"),
        ({"fx_px": "50"}, "fx_px: Input should be a valid number, found '50'"),
        ({"fx_px": True}, "fx_px: Input should be a valid number, found True"),
        ({"fx_px": [50]}, "fx_px: Input should be a valid number, found [50]"),
        ({"fx_px": math.nan}, "fx_px: Input should be a finite number, found nan"),
        ({"fx_px": math.inf}, "fx_px: Input should be a finite number, found inf"),
        ({"fx_px": 10**400}, "fx_px: Input should be a finite number"),
        ({"distortion": "opencv"}, "distortion: Input should be 'none', 'brown' or 'fisheye', found 'opencv'"),
        (
            {"distortion": "fisheye", "coefficients": [0.1, 0, 0, False]},
            "coefficients.3: Input should be a valid number",
        ),
    ],
    ids=str,
)
def test_a_key_or_value_of_another_kind_is_refused_by_name(change: dict[str, object], message: str) -> None:
    body = {"fx_px": 50, "fy_px": 50, "cx_px": 30, "cy_px": 20} | change
    with pytest.raises(RequestError) as raised:
        read_request(IMAGE, "[[1, 2]]", json.dumps(body), None)
    assert f"intrinsics: {message}" in str(raised.value)
    assert raised.value.status == 422 and "\n" not in str(raised.value)


def test_whole_numbers_may_be_written_as_floats_and_floats_as_whole_numbers() -> None:
    whole = read_request(IMAGE, "[[1, 2]]", '{"fx_px": 50, "fy_px": 50, "cx_px": 30, "cy_px": 20}', None)
    floats = read_request(IMAGE, "[[1.0, 2e0]]", '{"fx_px": 50.0, "fy_px": 5e1, "cx_px": 30.0, "cy_px": 20.0}', None)
    assert whole.camera == floats.camera and whole.points_px.tolist() == floats.points_px.tolist()


def test_a_key_that_stands_twice_is_refused() -> None:
    body = '{"fx_px": 50, "fy_px": 50, "cx_px": 30, "cy_px": 20, "fx_px": 60}'
    with pytest.raises(RequestError, match="key 'fx_px' stands twice"):
        read_request(IMAGE, "[[1, 2]]", body, None)


@pytest.mark.parametrize("body", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, '{"\\ud800": 1}', '"\\ud800"', "null"])
def test_hostile_json_is_one_sentence(body: str) -> None:
    with pytest.raises(
        RequestError, match=r"^intrinsics: .*send intrinsics as JSON|^intrinsics: unknown key"
    ) as raised:
        read_request(IMAGE, "[[1, 2]]", body, None)
    assert str(raised.value).encode()


@pytest.mark.parametrize("points", ['[["1", 2]]', "[[true, 2]]", "[[1, null]]", "[[1e999, 2]]", '{"u": 1}', "[1, 2]"])
def test_points_of_another_json_type_are_refused(points: str) -> None:
    with pytest.raises(RequestError, match=r"points: expected JSON \[\[u, v\], …\]") as raised:
        read_request(IMAGE, points, None, 60.0)
    assert raised.value.status == 422
