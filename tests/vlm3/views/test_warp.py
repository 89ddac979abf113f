"""Resizing and cutting shows the same as a warp of each pixel, and the mask says where the source ends."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm3.geometry.camera import Camera, Distortion
from vlm3.storage.images import Decoded
from vlm3.views.unify import GridPolicy, UnifyPolicy, unified_camera
from vlm3.views.warp import valid_mask, warp

SMOOTH = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8), (0, 0), 3)


def pixel_by_pixel(decoded: Decoded, camera: Camera, target: Camera) -> np.ndarray:
    """The same picture: of each unified pixel, the mean of what is seen at points spread over it."""
    n = max(1, round(camera.fx_px * decoded.scale_x / target.fx_px))
    v, u = (np.mgrid[: target.height_px * n, : target.width_px * n] + 0.5) / n - 0.5
    points = camera.project(target.unproject(np.stack([u.ravel(), v.ravel()], -1)))
    reduced = ((points + 0.5) * (decoded.scale_x, decoded.scale_y) - 0.5).astype(np.float32)
    map_x, map_y = (axis.reshape(u.shape) for axis in reduced.T)
    fine = cv2.remap(decoded.pixels.astype(np.float32), map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return fine.reshape(target.height_px, n, target.width_px, n, 3).mean((1, 3))


@settings(max_examples=50)
@given(
    st.floats(150, 900),
    st.floats(0.8, 1.25),
    st.floats(-40, 40),
    st.floats(60, 700),
    st.sampled_from(GridPolicy),
    st.sampled_from([1.0, 0.5]),
    st.integers(20, 2000),
)
def test_any_pinhole_is_resampled_to_what_its_camera_says(
    fx: float, ratio: float, shift: float, focal: float, grid: GridPolicy, reduced: float, cells: int
) -> None:
    camera = Camera(round(320 / reduced), round(240 / reduced), fx, fx * ratio, 160 + shift, 120 - shift)
    target = unified_camera(camera, UnifyPolicy(focal, grid, 16, 1024, cells * 256))
    decoded = Decoded(SMOOTH, camera.width_px, camera.height_px, reduced, reduced)
    image = warp(decoded, camera, target)
    assert image.shape == (target.height_px, target.width_px, 3) and image.strides[1:] == (3, 1)
    mask = valid_mask(camera, target)
    assert (image[~mask] == 0).all()
    inner = cv2.erode(mask.astype(np.uint8), np.ones((7, 7)), borderValue=0).astype(bool)
    error = image[inner] - pixel_by_pixel(decoded, camera, target)[inner]
    # Cubic interpolation differs a little from a linear look-up; a shift would be seen.
    assert np.abs(error).mean() < 2.5 if error.size else True
    assert np.abs(error.mean()) < 0.3 if error.size > 3000 else True


def test_a_small_window_of_a_huge_plane_is_the_same_part_of_it() -> None:
    camera = Camera(320, 240, 100.0, 100.0, 160.3, 119.8)
    whole = unified_camera(camera, UnifyPolicy(400, GridPolicy.CROP, 16, 1024, 2**24))
    small = unified_camera(camera, UnifyPolicy(400, GridPolicy.CROP, 16, 1024, 128 * 128))
    assert small.width_px * small.height_px * 8 < whole.width_px * whole.height_px
    decoded = Decoded(SMOOTH, 320, 240, 1.0, 1.0)
    x, y = round(whole.cx_px - small.cx_px), round(whole.cy_px - small.cy_px)
    part = warp(decoded, camera, whole)[y : y + small.height_px, x : x + small.width_px].astype(int)
    assert np.abs(warp(decoded, camera, small) - part).max() <= 2


def test_one_axis_may_shrink_while_the_other_grows() -> None:
    camera = Camera(320, 240, 400.0, 80.0, 160.0, 120.0)
    target = unified_camera(camera, UnifyPolicy(160, GridPolicy.CROP, 16, 1024, 2**20))
    # Columns alternate: linear look-ups at 0.4 of the size would show stripes, averaging shows grey.
    stripes = np.zeros((240, 320, 3), np.uint8)
    stripes[:, ::2] = 200
    image = warp(Decoded(stripes, 320, 240, 1.0, 1.0), camera, target)
    assert np.abs(image.astype(int) - 100).max() <= 25


@pytest.mark.parametrize("model", [Distortion.NONE, Distortion.BROWN])
def test_the_mask_is_where_the_source_shows(model: Distortion) -> None:
    coefficients = (-0.1, 0.02, 0.001, -0.001) if model is Distortion.BROWN else ()
    camera = Camera(320, 240, 250.0, 260.0, 150.0, 130.0, model, coefficients)
    target = unified_camera(camera, UnifyPolicy(300, GridPolicy.PAD, 32, 1024, 2**20))
    white = np.full((240, 320, 3), 255, np.uint8)
    image = warp(Decoded(white, 320, 240, 1.0, 1.0), camera, target)
    mask = valid_mask(camera, target)
    assert 0 < mask.mean() < 1
    assert ((image == 255).all(-1) == mask).all()
