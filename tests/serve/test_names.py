"""What a client calls something: ours is taken, each once; anything else is told what it may mean."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import UploadFile

from serve.names import FIELDS, KEYS, form_fault, keys_fault, query_fault

FILE = UploadFile(BytesIO(b"\xff\xd8\xff"), filename="photo.jpg")
GIVEN = (("image", FILE), ("points", "[[1, 2]]"))


def test_declared_fields_are_taken_in_any_order() -> None:
    parts = [*GIVEN, ("intrinsics", "{}"), ("horizontal_fov_deg", "65")]
    assert form_fault(parts) is None and form_fault(parts[::-1]) is None
    assert keys_fault(KEYS) is None and query_fault(()) is None


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        *(
            (name, "fx_px")
            for name in ("foacl_px", "fx", "fl_x", "FX_PX", "fx-px", "focal_length", "f", "focalLengthX")
        ),
        *((name, "fy_px") for name in ("fy", "fl_y", "focal_y")),
        *((name, "cx_px") for name in ("cx", "ppx", "u0", "principal_point_x", "cx_px")),
        *((name, "cy_px") for name in ("cy", "ppy", "v0")),
        *((name, "coefficients") for name in ("k1", "k6", "p2", "D", "dist_coeffs", "distortion_params", "coefs")),
        *((name, "coefficients") for name in ("distortion_k1k2p1p2", "radial_distortion", "distortion_coefficients")),
        *(
            (name, "distortion")
            for name in ("camera_model", "distortion_model", "cameraModel", "is_fisheye", "distorsion")
        ),
        *(
            (name, "intrinsics")
            for name in ("K", "camera_matrix", "cam_K", "camera_intrinsics", "intrinsic", "Intrinsics")
        ),
        *(
            (name, "horizontal_fov_deg")
            for name in ("fov", "hfov", "fov_x", "horizontal_fov", "camera_angle_x", "fov_deg")
        ),
        *((name, "points") for name in ("pionts", "point", "uv", "pixels", "Points", "points_px")),
        *((name, "image") for name in ("file", "img", "photo", "imgae")),
    ],
)
def test_another_name_is_told_ours(name: str, ours: str) -> None:
    for value in ("1", FILE):
        assert f"{name!r}; did you mean {ours!r}?" in str(form_fault([*GIVEN, (name, value)]))
    if ours in KEYS and name not in KEYS:
        assert f"unknown key {name!r}; did you mean {ours!r}?" in str(keys_fault([*KEYS, name]))
    assert f"unknown query parameter {name!r}; did you mean {ours!r}?" in str(query_fault([name]))


def test_what_belongs_into_the_json_says_where() -> None:
    assert "send intrinsics as JSON" in str(form_fault([("fx_px", "525")]))
    assert "send intrinsics as JSON" not in str(form_fault([("pionts", "[]")]))


@pytest.mark.parametrize("name", ["w", "h", "width", "image_width", "img_h", "height_px", "size"])
def test_the_size_is_the_pictures(name: str) -> None:
    for fault in (form_fault([(name, "640")]), keys_fault([name])):
        assert "the size is the picture's own" in str(fault)


def test_what_means_nothing_is_told_the_valid_names() -> None:
    assert str(form_fault([("zzz", "1")])).endswith("valid: horizontal_fov_deg, image, interval, intrinsics, points")
    assert str(keys_fault(["zzz"])).endswith("valid: coefficients, cx_px, cy_px, distortion, fx_px, fy_px")


@pytest.mark.parametrize("twice", FIELDS)
def test_a_field_that_is_sent_twice_is_refused(twice: str) -> None:
    value = FILE if twice == "image" else "1"
    assert form_fault([(twice, value), (twice, value)]) == f"form field {twice!r} is sent twice: send it once"


@pytest.mark.parametrize("name", FIELDS[1:])
@pytest.mark.parametrize(
    ("value", "message"), [("", "is empty"), (" \n", "is empty"), (FILE, "expected text, found a file")]
)
def test_a_text_that_is_empty_or_a_file_is_refused(name: str, value: str | UploadFile, message: str) -> None:
    assert message in str(form_fault([("image", FILE), (name, value)]))


def test_the_query_takes_nothing() -> None:
    assert query_fault(["points"]) == "query parameter 'points': only the form is read, send it as a form field"


@given(st.text(max_size=2000))
def test_any_other_name_is_refused_in_one_line(name: str) -> None:
    faults = [query_fault([name])]
    faults += [form_fault([(name, "1")])] if name not in FIELDS else []
    faults += [keys_fault([name])] if name not in KEYS else []
    for fault in faults:
        assert fault and len(fault) < 400 and "\n" not in fault
        assert fault.encode()
