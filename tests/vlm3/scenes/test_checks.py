"""Every check fires on what it is for, and names the frame and the numbers."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.image_files import turned
from vlm3.geometry.camera import Camera, Distortion
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.checks import check_frame, stored_fault
from vlm3.scenes.depth_labels import shrink_depth
from vlm3.scenes.schema import Box, Frame, IntrinsicsSource, Scale

WIDTH, HEIGHT = 40, 30
CAMERA = Camera(WIDTH, HEIGHT, 50.0, 51.0, 19.5, 14.5)
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def encoded(ending: str, pixels: NDArray[np.uint8] = PIXELS) -> bytes:
    return cv2.imencode(ending, pixels)[1].tobytes()


def labels(*rows: tuple[float, float, float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32).reshape(-1, 3)


SOUND = Frame(
    source="house",
    scene="kitchen",
    frame="0007",
    camera_id="left",
    encoded_image=encoded(".jpg"),
    camera=CAMERA,
    intrinsics_source=IntrinsicsSource.GIVEN,
    world_T_cam=np.eye(4),
    scale=Scale.METRIC,
    depth_kind=DepthKind.Z,
    points=labels((0, 0, 1), (-0.5, 29.4, 2), (39.4, 3, 1000)),
    small_depth=shrink_depth(np.ones((HEIGHT, WIDTH)), CAMERA),
)


def reason(**changes: object) -> str:
    """What the check says of a sound frame with changes; it must be about that frame."""
    rejection = check_frame(replace(SOUND, **changes))
    assert rejection is not None
    assert (rejection.source, rejection.scene, rejection.frame) == ("house", "kitchen", "0007")
    return rejection.reason


def test_a_sound_frame_passes_as_jpeg_and_as_png() -> None:
    assert check_frame(SOUND) is None
    assert check_frame(replace(SOUND, encoded_image=encoded(".png"))) is None


@pytest.mark.parametrize("field", ["fx_px", "fy_px", "cx_px", "cy_px"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_intrinsics_that_are_no_numbers(field: str, value: float) -> None:
    assert "NaN or infinity" in reason(camera=replace(CAMERA, **{field: value}))


def test_lens_coefficients_that_are_no_numbers() -> None:
    assert "NaN" in reason(camera=replace(CAMERA, distortion=Distortion.BROWN, coefficients=(np.nan, 0, 0, 0)))


@pytest.mark.parametrize("value", [0.0, -50.0])
def test_focal_lengths_that_are_not_positive(value: float) -> None:
    assert f"{value:g}" in reason(camera=replace(CAMERA, fy_px=value))


@pytest.mark.parametrize(("cx_px", "cy_px"), [(80.0, 14.5), (19.5, -1.0), (39.5, 14.5)])
def test_a_principal_point_outside_the_image(cx_px: float, cy_px: float) -> None:
    said = reason(camera=replace(CAMERA, cx_px=cx_px, cy_px=cy_px))
    assert f"({cx_px:g}, {cy_px:g})" in said
    assert "40x30" in said


def test_an_image_of_another_size_than_its_camera_says() -> None:
    said = reason(camera=replace(CAMERA, width_px=80, height_px=60))
    assert "image is 40x30" in said
    assert "80x60" in said


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_turned_phone_picture_is_called_turned_not_unreadable(kind: str) -> None:
    assert reason(encoded_image=turned(kind, 6, PIXELS)).startswith(f"turned image: {kind} has EXIF orientation 6")
    assert check_frame(replace(SOUND, encoded_image=turned(kind, 0, PIXELS))) is None


@pytest.mark.parametrize("ending", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.95])
def test_a_truncated_image(ending: str, share: float) -> None:
    data = encoded(ending)
    assert "image" in reason(encoded_image=data[: int(len(data) * share)])


def test_a_png_with_a_flipped_bit() -> None:
    data = bytearray(encoded(".png"))
    data[len(data) // 2] ^= 16
    assert "damaged PNG" in reason(encoded_image=bytes(data))


def test_a_file_that_is_no_image() -> None:
    assert "b'GIF89a" in reason(encoded_image=b"GIF89a" + bytes(100))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (np.diag([1.1, 1, 1, 1]), "differs from the identity by 0.21"),
        (np.diag([-1.0, 1, 1, 1]), "mirrors"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.eye(3), "4x4"),
        (np.vstack([np.eye(4)[:3], [0, 0, 1, 1]]), "last row"),
    ],
)
def test_a_pose_that_is_not_rigid(change: NDArray[np.float64], said: str) -> None:
    assert said in reason(world_T_cam=change)


@pytest.mark.parametrize("depth_m", [0.0, -2.0, np.nan, np.inf, 1000.1])
def test_depth_out_of_range_with_its_share(depth_m: float) -> None:
    said = reason(points=labels((1, 1, 1), (2, 2, depth_m), (3, 3, 1), (4, 4, depth_m)))
    assert "2 of 4 labels (50%)" in said
    assert f"{np.float32(depth_m):g} m" in said


@pytest.mark.parametrize(("u", "v"), [(-0.6, 3), (39.5, 3), (3, -1), (3, 29.5), (np.nan, 3)])
def test_labels_outside_the_image(u: float, v: float) -> None:
    said = reason(points=labels((1, 1, 1), (u, v, 1)))
    assert "1 of 2 labels (50%) outside the image" in said
    assert f"({np.float32(u):g}, {v:g})" in said


def test_labels_where_no_light_can_come_from() -> None:
    # This barrel lens bends no ray farther from the centre than 0.385 focal lengths.
    camera = replace(CAMERA, distortion=Distortion.BROWN, coefficients=(-1.0, 0.0, 0.0, 0.0))
    assert check_frame(replace(SOUND, camera=camera, points=labels((19, 14, 1)))) is None
    assert "lens model" in reason(camera=camera, points=labels((19, 14, 1), (0, 0, 1)))


def test_a_frame_that_nothing_can_be_asked_about() -> None:
    empty = labels()
    assert "no label" in reason(points=empty)
    assert "no label" in reason(points=empty, small_depth=None, world_T_cam=None)


def test_a_pose_or_a_box_is_a_label_too() -> None:
    box = Box("chair", (0, 0, 2), (1, 1, 1), (1, 0, 0, 0, 1, 0, 0, 0, 1), (1, 2, 30, 20))
    assert check_frame(replace(SOUND, points=labels(), small_depth=None)) is None
    assert check_frame(replace(SOUND, points=labels(), small_depth=None, world_T_cam=None, boxes=(box,))) is None


def test_labels_of_a_wrong_shape() -> None:
    assert "(3, 2)" in reason(points=np.ones((3, 2), np.float32))
    assert "(1025, 3)" in reason(points=np.ones((1025, 3), np.float32))


def test_the_first_fault_is_told_and_a_bad_camera_comes_before_what_it_spoils() -> None:
    assert "focal" in reason(camera=replace(CAMERA, fx_px=-1.0), encoded_image=b"", points=labels())


@pytest.mark.parametrize("change", [{"z_depth_m": np.empty((0, 4), np.float32)}, {"fx_px": np.nan}, {"fy_px": 0.0}])
def test_a_small_depth_map_that_cannot_be_one(change: dict[str, object]) -> None:
    assert SOUND.small_depth is not None
    spoiled = replace(SOUND.small_depth, **change)
    assert "small depth map" in reason(small_depth=spoiled)
    assert "small depth map" in (stored_fault(replace(SOUND, small_depth=spoiled)) or "")
