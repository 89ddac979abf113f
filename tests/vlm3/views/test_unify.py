"""The unified image shows what its camera says, for any camera; hostile ones are bounded or refused."""

import math
import time

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from tests.source_pixels import source_pixels
from vlm3.errors import DataError
from vlm3.geometry.camera import Camera, Distortion
from vlm3.views.unify import UnifiedView, UnifyPolicy, unified_camera, unify

LENSES = {
    Distortion.NONE: st.just(()),
    Distortion.BROWN: st.tuples(*(st.floats(-s, s) for s in (0.15, 0.03, 0.003, 0.003))),
    Distortion.FISHEYE: st.tuples(*(st.floats(-s, s) for s in (0.05, 0.01, 0.002, 0.0005))),
}


@st.composite
def cameras(draw: st.DrawFn) -> Camera:
    width, height = draw(st.integers(40, 640)), draw(st.integers(40, 640))
    fx = draw(st.floats(0.8, 2.5)) * max(width, height)
    model = draw(st.sampled_from(list(LENSES)))
    return Camera(
        width,
        height,
        fx,
        fx * draw(st.floats(0.8, 1.25)),
        (width - 1) / 2 + draw(st.floats(-0.1, 0.1)) * width,
        (height - 1) / 2 + draw(st.floats(-0.1, 0.1)) * height,
        model,
        draw(LENSES[model]),
    )


@st.composite
def policies(draw: st.DrawFn) -> UnifyPolicy:
    token = draw(st.sampled_from([16, 32]))
    return UnifyPolicy(
        draw(st.floats(60, 1000)),
        token,
        4 * token**2,
        draw(st.integers(64, 900)) * token**2,
    )


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def directions(camera: Camera, gain: float) -> np.ndarray:
    """A picture whose red and green are the tangents of the viewing direction, `gain` levels per unit of tangent."""
    v, u = np.mgrid[: camera.height_px, : camera.width_px]
    rays = camera.unproject(np.stack([u.ravel(), v.ravel()], -1)).reshape(*u.shape, 3)
    coded = np.nan_to_num(rays[..., :2] * gain + 127.5)
    return np.dstack([np.clip(coded, 0, 255), np.full(u.shape, 128.0)])


@given(cameras(), policies(), st.randoms(use_true_random=False))
def test_a_point_lands_where_the_warp_moved_its_pixel(camera: Camera, policy: UnifyPolicy, random) -> None:
    view = unified_camera(camera, policy)
    pixels = np.array(
        [[random.uniform(0, camera.width_px - 1), random.uniform(0, camera.height_px - 1)] for _ in range(50)]
    )
    points_m = camera.unproject(pixels) * np.array([[random.uniform(0.3, 30)] for _ in range(50)])
    moved = UnifiedView(np.zeros((1, 1, 3), np.uint8), view, camera).map_points(pixels)
    kept = np.isfinite(moved[:, 0])
    assert np.abs(moved[kept] - view.project(points_m)[kept]).max(initial=0) < 0.05


@settings(max_examples=60)
@given(cameras(), policies())
def test_the_picture_itself_shows_what_the_new_camera_sees(camera: Camera, policy: UnifyPolicy) -> None:
    assume(policy.focal_px / min(camera.fx_px, camera.fy_px) < 8)
    gain = 120 * min(camera.fx_px / camera.width_px, camera.fy_px / camera.height_px)
    slope = gain / policy.focal_px
    # Where a pixel is a whole or half level, all of them round the same way: a bias that looks like a shift.
    assume(all(abs(slope * parts - round(slope * parts)) > 0.03 for parts in (1, 2)))
    # Dithered, so that roundings average out even where a pixel is half a level.
    dither = np.random.default_rng(0).uniform(-0.5, 0.5, (camera.height_px, camera.width_px, 3))
    source = np.clip(np.rint(directions(camera, gain) + dither), 0, 255).astype(np.uint8)
    view = unify(png(source), camera, policy)
    inner = cv2.erode(view.valid_mask().astype(np.uint8), np.ones((5, 5)), borderValue=0).astype(bool)
    signed = (view.image - directions(view.camera, gain))[..., :2][inner]
    # A source pixel is up to 3 levels; an edge within one is known to half of that, and both pictures are rounded.
    assert np.percentile(np.abs(signed), 99) <= 2 if signed.size else True
    # Roundings average out over many pixels, a shift does not.
    assert np.abs(signed.mean(0)).max() < 0.25 * max(1.0, slope) if len(signed) > 5000 else True


@given(cameras(), policies())
def test_the_stock_resize_leaves_a_unified_image_as_it_is(camera: Camera, policy: UnifyPolicy) -> None:
    view = unified_camera(camera, policy)
    size = (view.height_px, view.width_px)
    assert smart_resize(*size, policy.token_px, policy.min_pixels, policy.max_pixels) == size
    assert policy.min_pixels <= size[0] * size[1] <= policy.max_pixels


@given(cameras(), policies())
def test_both_focals_become_the_target_and_the_principal_ray_stays_put(camera: Camera, policy: UnifyPolicy) -> None:
    view = unified_camera(camera, policy)
    assert view.fx_px == view.fy_px == policy.focal_px and view.distortion is Distortion.NONE
    center = view.project(np.array([[0.0, 0.0, 1.0]]))[0]
    assert np.allclose(center, (view.cx_px, view.cy_px))
    # The window moves by whole pixels only: what is left of the shift is no fraction.
    shift = (camera.cx_px + 0.5) * policy.focal_px / camera.fx_px - 0.5 - view.cx_px
    assert abs(shift - round(shift)) < 1e-6


@given(cameras(), st.floats(60, 500))
def test_padding_loses_no_point_of_a_pinhole(camera: Camera, focal_px: float) -> None:
    plain = Camera(camera.width_px, camera.height_px, camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px)
    policy = UnifyPolicy(focal_px, 16, 1024, 2**26)
    corners = np.array(
        [[0, 0], [plain.width_px - 1, 0], [0, plain.height_px - 1], [plain.width_px - 1, plain.height_px - 1.0]]
    )
    view = UnifiedView(np.zeros((1, 1, 3), np.uint8), unified_camera(plain, policy), plain)
    moved = view.map_points(corners)
    assert np.isfinite(moved).all()
    assert np.allclose(source_pixels(view, moved), corners, atol=1e-6)


LENS_CAMERAS = st.builds(
    lambda width, height, f, ratio, x, y, lens: Camera(width, height, f * width, f * ratio * width, x, y, *lens),
    st.integers(40, 300),
    st.integers(40, 300),
    st.floats(0.15, 2.5),
    st.floats(0.8, 1.25),
    st.floats(5, 35),
    st.floats(5, 35),
    st.one_of(
        st.tuples(st.just(Distortion.BROWN), st.tuples(*(st.floats(-s, s) for s in (0.5, 0.2, 0.01, 0.01, 0.05)))),
        st.tuples(st.just(Distortion.FISHEYE), st.tuples(*(st.floats(-s, s) for s in (0.1, 0.05, 0.01, 0.005)))),
    ),
)
"""Some end inside the image: what is beyond has no ray."""


@given(LENS_CAMERAS, st.floats(60, 1000), st.integers(0, 99))
def test_padding_loses_no_point_that_a_lens_has_a_ray_for(camera: Camera, focal_px: float, seed: int) -> None:
    assume(focal_px / min(camera.fx_px, camera.fy_px) < 32)
    target = unified_camera(camera, UnifyPolicy(focal_px, 16, 1024, 2**40))
    # Else it is cut.
    assume(max(target.width_px, target.height_px) < 32_000)
    size = np.array([camera.width_px, camera.height_px])
    anywhere = np.random.default_rng(seed).uniform(-0.02, 1.02, (2000, 2)).clip(0, 1 - 1e-9) * size - 0.5
    centers = np.stack(np.meshgrid(np.arange(camera.width_px), np.arange(camera.height_px)), -1).reshape(-1, 2)
    points = np.concatenate([anywhere, centers])
    known = np.isfinite(camera.unproject(points)[:, 0])
    moved = UnifiedView(np.zeros((1, 1, 3), np.uint8), target, camera).map_points(points)
    assert (np.isfinite(moved[:, 0]) == known).all()


@pytest.mark.parametrize("k1", [-0.15, 0.15])
def test_a_lens_is_padded_by_less_than_a_token_and_two_pixels(k1: float) -> None:
    camera = Camera(640, 480, 500.0, 510.0, 315.0, 235.0, Distortion.BROWN, (k1, 0.02, 0.001, -0.001))
    mask = UnifiedView(
        np.zeros((1, 1, 3), np.uint8), unified_camera(camera, UnifyPolicy(500, 16, 1024, 2**22)), camera
    ).valid_mask()
    for shown in (mask.any(axis=0), mask.any(axis=1)):
        first, last = np.flatnonzero(shown)[[0, -1]]
        assert first <= 1 and len(shown) - 1 - last < 16 + 1


def test_an_image_of_a_pinhole_at_the_focal_keeps_k_and_is_padded_right_and_below() -> None:
    for lens in ((Distortion.NONE, ()), (Distortion.BROWN, (0.0,) * 5)):
        camera = Camera(310, 224, 300.0, 300.0, 152.3, 110.7, *lens)
        found = unified_camera(camera, UnifyPolicy(300, 32, 1024, 2**20))
        assert (found.width_px, found.height_px) == (320, 224)
        assert (found.cx_px, found.cy_px) == pytest.approx((152.3, 110.7), abs=1e-12)


def test_a_lens_image_that_is_too_large_is_cut_about_the_middle_in_the_proportions_of_the_source() -> None:
    camera = Camera(640, 480, 215.0, 215.0, 319.5, 239.5, Distortion.FISHEYE, (0.0,) * 4)
    policy = UnifyPolicy(215, 32, 1024, 256 * 192)
    middle = unified_camera(camera, policy)
    assert (middle.width_px, middle.height_px) == (256, 192)
    assert middle.project(np.array([[0.0, 0.0, 1.0]]))[0] == pytest.approx((127.5, 95.5), abs=1)


def test_the_papers_size_is_reached_up_to_the_token_grid() -> None:
    # METHOD: f = 1000 gives 1215×920 for a depth image.
    camera = Camera(640, 480, 640 * 1000 / 1215, 480 * 1000 / 920, 319.5, 239.5)
    view = unified_camera(camera, UnifyPolicy(1000, 32, 4096, 16_777_216))
    assert (view.width_px, view.height_px) == (1216, 928)


@pytest.mark.parametrize(
    "camera",
    [
        Camera(640, 480, 1.0, 1.0, 320, 240),
        Camera(640, 480, math.nan, 500.0, 320, 240),
        Camera(640, 480, 500.0, math.inf, 320, 240),
        Camera(640, 480, -500.0, 500.0, 320, 240),
        Camera(640, 480, 500.0, 500.0, 320, 240, Distortion.BROWN, (math.nan, 0, 0, 0)),
        Camera(640, 480, 500.0, 500.0, 1e7, -1e7),
        Camera(640, 480, 1000.0, 1000.0, 640.0, 480.0),
    ],
    ids=["one pixel", "nan", "infinite", "negative", "nan distortion", "axis far outside", "of the image's double"],
)
def test_hostile_intrinsics_are_refused(camera: Camera) -> None:
    with pytest.raises(DataError, match=r"intrinsics|focal|do K and the image have the same size"):
        unify(png(np.zeros((480, 640, 3), np.uint8)), camera, UnifyPolicy(1000, 32, 4096, 2**24))


@pytest.mark.parametrize(
    "camera",
    [
        Camera(640, 480, 50_000.0, 50_000.0, 319.5, 239.5),
        Camera(640, 480, 215.0, 215.0, 319.5, 239.5, Distortion.FISHEYE, (0.0, 0.0, 0.0, 0.0)),
        Camera(640, 480, 40.0, 40.0, 319.5, 239.5),
    ],
    ids=["telephoto", "fisheye of 170 degrees", "wide"],
)
def test_extreme_intrinsics_are_bounded(camera: Camera) -> None:
    policy = UnifyPolicy(1000, 32, 64 * 1024, 2**21)
    # Of this thread: a busy machine is slow, not wrong.
    started = time.thread_time()
    view = unify(png(np.full((480, 640, 3), 200, np.uint8)), camera, policy)
    assert time.thread_time() - started < 3
    assert 64 * 1024 <= view.image.shape[0] * view.image.shape[1] <= 2**21
    shown = view.image[view.valid_mask()]
    assert (shown > 190).all(), "what the source shows is not filled"


def test_a_telephoto_that_leaves_no_pixel_is_refused() -> None:
    with pytest.raises(DataError, match="shrinks an image of 640x480 px to nothing"):
        unified_camera(Camera(640, 480, 1e6, 1e6, 319.5, 239.5), UnifyPolicy(1000, 32, 1024, 1 << 20))


def test_an_image_of_another_size_than_its_camera_is_refused() -> None:
    camera = Camera(64, 48, 60.0, 60.0, 31.5, 23.5)
    with pytest.raises(DataError, match="32x24"):
        unify(png(np.zeros((24, 32, 3), np.uint8)), camera, UnifyPolicy(70, 16, 1024, 2**20))


@pytest.mark.parametrize(("fx", "fy"), [(400.0, 400.0), (333.0, 371.0), (150.0, 160.0)])
def test_shrinking_does_not_alias(fx: float, fy: float) -> None:
    """Against a warp supersampled 8 × 8: PSNR of a picture with detail up to the source's Nyquist limit."""
    rng = np.random.default_rng(0)
    source = rng.integers(0, 256, (480, 640, 3)).astype(np.uint8)
    source = cv2.addWeighted(source, 0.5, cv2.GaussianBlur(source, (0, 0), 8), 0.5, 0)
    camera = Camera(640, 480, fx, fy, 322.3, 236.9)
    view = unify(png(source), camera, UnifyPolicy(100, 16, 1024, 2**20))
    n = 8
    h, w = view.image.shape[:2]
    v, u = (np.mgrid[: h * n, : w * n] + 0.5) / n - 0.5
    at = (
        camera.project(view.camera.unproject(np.stack([u.ravel(), v.ravel()], -1)))
        .astype(np.float32)
        .reshape(h * n, w * n, 2)
    )
    fine = cv2.remap(source, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(float)
    reference = fine.reshape(h, n, w, n, 3).mean((1, 3))
    mse = ((view.image - reference)[view.valid_mask()] ** 2).mean()
    assert 10 * math.log10(255**2 / mse) > 30
