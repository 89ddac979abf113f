"""Resizing and cutting shows the same as a warp of each pixel, and the mask says where the source ends."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm3.geometry.camera import Camera, Distortion
from vlm3.storage.images import Decoded
from vlm3.views.unify import UnifyPolicy, unified_camera
from vlm3.views.warp import LENS_MAPS_BYTES, lens_strips, valid_mask, warp

LENSES = st.one_of(
    st.tuples(st.just(Distortion.BROWN), st.tuples(*(st.floats(-s, s) for s in (0.4, 0.1, 0.01, 0.01)))),
    st.tuples(st.just(Distortion.BROWN), st.tuples(*(st.floats(-s, s) for s in (0.4, 0.1, 0.01, 0.01, 0.05)))),
    st.tuples(
        st.just(Distortion.BROWN),
        st.tuples(*(st.floats(-s, s) for s in (0.4, 0.1, 0.01, 0.01, 0.05, 0.4, 0.1, 0.05))),
    ),
    st.tuples(st.just(Distortion.FISHEYE), st.tuples(*(st.floats(-s, s) for s in (0.2, 0.05, 0.02, 0.01)))),
)
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
    st.sampled_from([1.0, 0.5]),
    st.integers(20, 2000),
)
def test_any_pinhole_is_resampled_to_what_its_camera_says(
    fx: float, ratio: float, shift: float, focal: float, reduced: float, cells: int
) -> None:
    camera = Camera(round(320 / reduced), round(240 / reduced), fx, fx * ratio, 160 + shift, 120 - shift)
    target = unified_camera(camera, UnifyPolicy(focal, 16, 1024, cells * 256))
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
    whole = unified_camera(camera, UnifyPolicy(400, 16, 1024, 2**24))
    small = unified_camera(camera, UnifyPolicy(400, 16, 1024, 128 * 128))
    assert small.width_px * small.height_px * 8 < whole.width_px * whole.height_px
    decoded = Decoded(SMOOTH, 320, 240, 1.0, 1.0)
    x, y = round(whole.cx_px - small.cx_px), round(whole.cy_px - small.cy_px)
    part = warp(decoded, camera, whole)[y : y + small.height_px, x : x + small.width_px].astype(int)
    assert np.abs(warp(decoded, camera, small) - part).max() <= 2


def test_one_axis_may_shrink_while_the_other_grows() -> None:
    camera = Camera(320, 240, 400.0, 80.0, 160.0, 120.0)
    target = unified_camera(camera, UnifyPolicy(160, 16, 1024, 2**20))
    # Columns alternate: linear look-ups at 0.4 of the size would show stripes, averaging shows grey.
    stripes = np.zeros((240, 320, 3), np.uint8)
    stripes[:, ::2] = 200
    image = warp(Decoded(stripes, 320, 240, 1.0, 1.0), camera, target)
    assert np.abs(image.astype(int) - 100).max() <= 25


@pytest.mark.parametrize("model", [Distortion.NONE, Distortion.BROWN])
def test_the_mask_is_where_the_source_shows(model: Distortion) -> None:
    coefficients = (-0.1, 0.02, 0.001, -0.001) if model is Distortion.BROWN else ()
    camera = Camera(320, 240, 250.0, 260.0, 150.0, 130.0, model, coefficients)
    target = unified_camera(camera, UnifyPolicy(300, 32, 1024, 2**20))
    white = np.full((240, 320, 3), 255, np.uint8)
    image = warp(Decoded(white, 320, 240, 1.0, 1.0), camera, target)
    mask = valid_mask(camera, target)
    assert 0 < mask.mean() < 1
    assert ((image == 255).all(-1) == mask).all()


@given(LENSES, st.floats(0.2, 2), st.floats(0.8, 1.25), st.floats(30, 400), st.sampled_from([1.0, 0.625, 0.25]))
def test_the_map_of_a_lens_is_where_the_camera_projects(lens, focal: float, ratio: float, f: float, k: float) -> None:
    camera = Camera(320, 240, 320 * focal, 320 * focal * ratio, 150.3, 131.8, *lens)
    # Of more than one strip.
    target = Camera(308, 276, f, f, 161.2, 130.6)
    v, u = np.mgrid[:276, :308].astype(float)
    rays = target.unproject(np.stack([u.ravel(), v.ravel()], -1))
    expected = camera.project(rays)
    strips = list(lens_strips(camera, target, k, k))
    x_px, y_px, seen = (np.concatenate([getattr(s, name) for s in strips]).ravel() for name in ("x_px", "y_px", "seen"))
    at_px = (np.stack([x_px, y_px], -1).astype(float) + 0.5) / k - 0.5
    inside = camera.contains(expected)
    assert np.abs(at_px - expected)[inside].max(initial=0) < 1e-3
    # Known to a thousandth of a pixel: which side of an edge is right may differ there.
    to_edge = np.abs(expected - [[-0.5, -0.5]]).min(1), np.abs(expected - [[319.5, 239.5]]).min(1)
    radius = np.hypot(*rays[:, :2].T)
    clear = ~(np.minimum(*to_edge) < 1e-3) & (np.abs(radius / camera.largest_radius - 1) > 1e-9)
    assert ((seen > 0) == inside)[clear].all()


def test_maps_of_many_cameras_take_bounded_memory_however_large_they_are() -> None:
    def look(number: int) -> None:
        camera = Camera(1024, 512, 800.0 + number, 800.0, 511.5, 255.5, Distortion.BROWN, (-0.1, 0.02, 0.0, 0.0))
        for _ in range(2):
            list(lens_strips(camera, Camera(1024, 512, 800.0, 800.0, 511.5, 255.5), 1.0, 1.0))

    tracemalloc.start()
    try:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(look, range(60)))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # 60 maps of 4.7 MB were made twice.
    assert 0.8 * LENS_MAPS_BYTES < kept < 1.05 * LENS_MAPS_BYTES
