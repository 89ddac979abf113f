"""Projection and its inverse agree wherever the lens has one; elsewhere there is NaN, never a wrong ray."""

import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.geometry.camera import Camera, Distortion
from vlm3.geometry.depth import DepthKind, convert_depth

BROWN = st.tuples(*(st.floats(-s, s) for s in (0.3, 0.1, 0.005, 0.005, 0.02)))
FISHEYE = st.tuples(*(st.floats(-s, s) for s in (0.1, 0.05, 0.01, 0.005)))
LENSES = st.one_of(
    st.tuples(st.just(Distortion.NONE), st.just(())),
    st.tuples(st.just(Distortion.BROWN), BROWN),
    st.tuples(st.just(Distortion.FISHEYE), FISHEYE),
)


def camera(lens: tuple[Distortion, tuple[float, ...]]) -> Camera:
    return Camera(640, 480, 400.0, 420.0, 310.0, 250.0, *lens)


PIXELS = np.stack(np.meshgrid(np.linspace(-0.5, 639.4, 25), np.linspace(-0.5, 479.4, 19)), -1).reshape(-1, 2)


@given(LENSES)
def test_pixels_that_have_a_ray_are_seen_where_they_came_from(lens) -> None:
    rays = camera(lens).unproject(PIXELS)
    known = np.isfinite(rays[:, 0])
    assert (rays[known, 2] == 1).all() and np.isnan(rays[~known]).all()
    assert np.abs(camera(lens).project(rays[known]) - PIXELS[known]).max(initial=0) < 1e-6
    assert lens[0] is not Distortion.NONE or known.all()


@given(LENSES, st.floats(60, 400), st.integers(0, 99))
def test_the_ray_of_a_point_does_not_depend_on_the_points_it_is_asked_with(lens, f: float, seed: int) -> None:
    wide = Camera(640, 480, f, f, 310.0, 250.0, *lens)
    points = np.random.default_rng(seed).uniform(-0.5, (639.5, 479.5), (200, 2))
    together = wide.unproject(points)
    alone = np.concatenate([wide.unproject(point[None]) for point in points])
    assert together.tobytes() == alone.tobytes()


@given(BROWN)
def test_brown_is_opencvs(coefficients) -> None:
    own = camera((Distortion.BROWN, coefficients))
    points = np.random.default_rng(0).uniform([-0.6, -0.5, 1], [0.6, 0.5, 1], (200, 3))
    theirs = cv2.projectPoints(points, np.zeros(3), np.zeros(3), own.K, np.array(coefficients))[0].reshape(-1, 2)
    mine = own.project(points)
    known = np.isfinite(mine[:, 0])
    assert np.allclose(mine[known], theirs[known], atol=1e-9)


@given(FISHEYE)
def test_fisheye_is_opencvs(coefficients) -> None:
    own = camera((Distortion.FISHEYE, coefficients))
    points = np.random.default_rng(0).uniform([-2, -2, 1], [2, 2, 1], (200, 3))
    theirs = cv2.fisheye.projectPoints(points[:, None], np.zeros(3), np.zeros(3), own.K, np.array(coefficients))[0]
    mine = own.project(points)
    known = np.isfinite(mine[:, 0])
    assert np.allclose(mine[known], theirs.reshape(-1, 2)[known], atol=1e-6)


def test_a_lens_that_folds_back_has_no_ray_beyond_the_fold() -> None:
    # r(1 - r²) grows up to r = 1/√3 and is 0.385 there: nothing is seen farther out.
    folding = Camera(640, 480, 400.0, 400.0, 319.5, 239.5, Distortion.BROWN, (-1.0, 0.0, 0.0, 0.0))
    rays = folding.unproject(np.array([[319.5 + 400 * 0.38, 239.5], [319.5 + 400 * 0.39, 239.5]]))
    assert 0 < rays[0, 0] < 1 / np.sqrt(3) and np.isnan(rays[1]).all()
    assert np.isnan(folding.project(np.array([[0.7, 0.0, 1.0]]))).all()


def test_a_brown_lens_whose_coefficients_are_all_zero_is_a_pinhole() -> None:
    assert camera((Distortion.NONE, ())).is_pinhole and camera((Distortion.BROWN, (0.0,) * 5)).is_pinhole
    assert not camera((Distortion.BROWN, (0.0, 0.0, 0.0, 0.0, 1e-9))).is_pinhole
    assert not camera((Distortion.FISHEYE, (0.0,) * 4)).is_pinhole


def test_points_behind_the_camera_are_not_seen() -> None:
    for lens in ((Distortion.NONE, ()), (Distortion.FISHEYE, (0.0,) * 4)):
        assert np.isnan(camera(lens).project(np.array([[0.1, 0.1, -1.0], [0.1, 0.1, 0.0]]))).all()


@given(LENSES, st.floats(0.1, 100))
def test_depth_kinds_convert_there_and_back(lens, depth_m: float) -> None:
    own = camera(lens)
    depths = np.full(len(PIXELS), depth_m)
    rays = convert_depth(depths, PIXELS, own, DepthKind.Z, DepthKind.RAY)
    known = np.isfinite(rays)
    points = own.unproject(PIXELS) * depth_m
    assert np.allclose(rays[known], np.linalg.norm(points, axis=1)[known])
    assert (rays[known] >= depth_m * (1 - 1e-12)).all()
    assert np.allclose(convert_depth(rays, PIXELS, own, DepthKind.RAY, DepthKind.Z)[known], depth_m)


def test_the_ray_formula_of_the_method() -> None:
    # METHOD: ray = z·√(1 + ((u−cx)/fx)² + ((v−cy)/fy)²)
    plain = Camera(640, 480, 500.0, 400.0, 320.0, 240.0)
    ray = convert_depth(np.array([2.0]), np.array([[570.0, 40.0]]), plain, DepthKind.Z, DepthKind.RAY)
    assert ray[0] == pytest.approx(2 * np.sqrt(1 + 0.25 + 0.25))


def test_memory_does_not_grow_with_the_number_of_lenses() -> None:
    tracemalloc.start()
    try:
        for number in range(10_000):
            lens = (number * 1e-9, 0.0, 0.0, 0.0)
            Camera(64, 48, 50.0, 50.0, 31.5, 23.5, Distortion.FISHEYE, lens).unproject(PIXELS[:1])
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 64 << 20


@given(LENSES, st.floats(0.2, 5), st.floats(0.2, 5))
def test_the_rays_of_a_resized_image_are_those_of_the_image(lens, sx: float, sy: float) -> None:
    resized = camera(lens).scaled(sx, sy, 1, 1)
    moved = (PIXELS + 0.5) * (sx, sy) - 0.5
    np.testing.assert_allclose(resized.unproject(moved), camera(lens).unproject(PIXELS), atol=1e-9)


def test_an_image_contains_its_pixels_to_their_edges() -> None:
    small = Camera(4, 2, 10.0, 10.0, 1.0, 1.0)
    points = np.array([(-0.5, -0.5), (3.49, 1.49), (3.5, 0), (0, 1.5), (-0.51, 0), (np.nan, 0)])
    assert small.contains(points).tolist() == [True, True, False, False, False, False]
