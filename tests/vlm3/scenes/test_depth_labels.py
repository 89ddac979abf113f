"""What frames keep of a depth image."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.geometry.camera import Camera, Distortion
from vlm3.scenes.depth_labels import depth_camera, random_labels, shrink_depth
from vlm3.scenes.schema import MAX_POINTS, SMALL_DEPTH_LONG_SIDE_PX


def ramp(width: int, height: int) -> np.ndarray:
    """Every pixel's own value, so that samples say where they come from."""
    return np.arange(1.0, width * height + 1).reshape(height, width)


def pinhole(width: int, height: int) -> Camera:
    return Camera(width, height, 1.0 * width, 1.0 * width, (width - 1) / 2, (height - 1) / 2)


def test_labels_are_valid_pixels_with_their_depth_and_no_pixel_comes_twice() -> None:
    z_depth_m = ramp(50, 40)
    z_depth_m[::2] = np.nan
    points = random_labels(z_depth_m, pinhole(50, 40), np.random.default_rng(0))
    assert points.dtype == np.float32
    assert points.shape == (1000, 3)
    u, v = points[:, 0].astype(int), points[:, 1].astype(int)
    np.testing.assert_array_equal(z_depth_m[v, u].astype(np.float32), points[:, 2])
    assert len(set(zip(u.tolist(), v.tolist(), strict=True))) == 1000


def test_labels_are_spread_over_the_whole_image_and_bounded() -> None:
    points = random_labels(ramp(640, 480), pinhole(640, 480), np.random.default_rng(0))
    assert len(points) == MAX_POINTS
    np.testing.assert_allclose(points[:, :2].mean(axis=0), (320, 240), atol=25)


@pytest.mark.parametrize("size", [(64, 48), (320, 240)])
@pytest.mark.parametrize("k1", [-1.0, -4.0, -100.0])
def test_no_label_lies_where_the_lens_has_no_ray_and_others_take_its_place(size: tuple[int, int], k1: float) -> None:
    width, height = size
    camera = replace(pinhole(width, height), distortion=Distortion.BROWN, coefficients=(k1, 0.0, 0.0, 0.0))
    points = random_labels(ramp(width, height), camera, np.random.default_rng(0))
    v, u = np.mgrid[:height, :width]
    with_ray = np.isfinite(camera.unproject(np.stack([u.ravel(), v.ravel()], -1))[:, 2]).sum()
    assert with_ray < width * height and len(points) == min(with_ray, MAX_POINTS)
    assert np.isfinite(camera.unproject(points[:, :2])).all()
    assert len(np.unique(points[:, :2], axis=0)) == len(points)


def test_an_image_without_depth_has_no_labels() -> None:
    assert random_labels(np.full((4, 5), np.nan), pinhole(5, 4), np.random.default_rng(0)).shape == (0, 3)


@given(st.integers(1, 900), st.integers(1, 900))
def test_a_small_map_says_where_its_samples_come_from_to_half_a_pixel(width: int, height: int) -> None:
    camera = Camera(width, height, 300.0, 310.0, width / 2 - 3, height / 2 + 2)
    small = shrink_depth(ramp(width, height), camera)
    rows, columns = small.z_depth_m.shape
    assert max(rows, columns) == min(max(width, height), SMALL_DEPTH_LONG_SIDE_PX)
    v, u = np.divmod(small.z_depth_m.astype(np.int64).ravel() - 1, width)
    here = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    # The ray of a small pixel, seen by the large camera.
    there = camera.project(depth_camera(small, camera).unproject(here))
    np.testing.assert_allclose(there, np.stack([u, v], axis=-1), atol=0.5 + 1e-6)


def test_a_map_that_is_small_already_stays_as_it_is() -> None:
    camera = Camera(160, 120, 100.0, 101.0, 80.0, 59.0)
    small = shrink_depth(ramp(160, 120), camera)
    np.testing.assert_array_equal(small.z_depth_m, ramp(160, 120))
    assert depth_camera(small, camera) == camera


@pytest.mark.parametrize(
    ("lens", "coefficients"),
    [(Distortion.BROWN, (-0.12, 0.02, 0.001, -0.001)), (Distortion.FISHEYE, (-0.02, 0.004, 0.0, 0.0))],
)
def test_the_lens_of_a_frame_is_that_of_its_small_map(lens: Distortion, coefficients: tuple[float, ...]) -> None:
    camera = Camera(640, 480, 400.0, 405.0, 325.0, 236.0, lens, coefficients)
    small_camera = depth_camera(shrink_depth(ramp(640, 480), camera), camera)
    scale = small_camera.width_px / 640
    pixels = np.array([[10.0, 20.0], [600.0, 470.0], [320.0, 240.0]])
    np.testing.assert_allclose(
        small_camera.unproject((pixels + 0.5) * scale - 0.5), camera.unproject(pixels), rtol=0, atol=1e-9
    )
