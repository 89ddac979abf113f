"""The extent of an image's rays holds each of them and not much more, also where a lens ends inside the image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.geometry.camera import Camera, Distortion
from vlm3.geometry.ray_extent import ray_extent

BROWN = st.tuples(*(st.floats(-s, s) for s in (0.5, 0.2, 0.01, 0.01, 0.05)))
FISHEYE = st.tuples(*(st.floats(-s, s) for s in (0.1, 0.05, 0.01, 0.005)))
LENSES = st.one_of(
    st.tuples(st.just(Distortion.NONE), st.just(())),
    st.tuples(st.just(Distortion.BROWN), BROWN),
    st.tuples(st.just(Distortion.FISHEYE), FISHEYE),
)


@st.composite
def cameras(draw: st.DrawFn) -> Camera:
    width, height = draw(st.integers(8, 2000)), draw(st.integers(8, 2000))
    fx = draw(st.floats(0.15, 3)) * max(width, height)
    return Camera(
        width,
        height,
        fx,
        fx * draw(st.floats(0.8, 1.25)),
        draw(st.floats(-0.45, 0.45)) * width + (width - 1) / 2,
        draw(st.floats(-0.45, 0.45)) * height + (height - 1) / 2,
        *draw(LENSES),
    )


def rays_of(camera: Camera, seed: int) -> np.ndarray:
    """Rays all over the image, most of them along its border, up to its outer edges."""
    inner = np.random.default_rng(seed).uniform(-0.02, 1.02, (4000, 2)).clip(0, 1)
    rays = camera.unproject(inner * (camera.width_px, camera.height_px) - 0.5)[:, :2]
    return rays[np.isfinite(rays[:, 0])]


@given(cameras(), st.integers(0, 99))
def test_every_ray_of_an_image_is_inside(camera: Camera, seed: int) -> None:
    rays, extent = rays_of(camera, seed), ray_extent(camera)
    assert (rays >= (extent.left, extent.top)).all() and (rays <= (extent.right, extent.bottom)).all()


@pytest.mark.parametrize(
    "lens",
    [
        (Distortion.NONE, ()),
        (Distortion.BROWN, (-0.1, 0.02, 0.001, -0.001)),
        (Distortion.BROWN, (0.2, 0.02, 0.001, -0.001)),
        (Distortion.FISHEYE, (-0.02, 0.004, 0.0, 0.0)),
    ],
)
def test_it_is_no_larger_than_needed(lens: tuple[Distortion, tuple[float, ...]]) -> None:
    camera = Camera(640, 480, 400.0, 420.0, 310.0, 250.0, *lens)
    rays, extent = rays_of(camera, 0), ray_extent(camera)
    reached = (*rays.min(axis=0), *rays.max(axis=0))
    assert (extent.left, extent.top, extent.right, extent.bottom) == pytest.approx(reached, abs=0.002)


def test_where_a_lens_ends_inside_the_image_it_ends_there() -> None:
    # r(1 − r²) grows up to r = 1/√3 and is 0.385 there: 154 px from the axis, inside on all sides.
    camera = Camera(640, 480, 400.0, 400.0, 319.5, 239.5, Distortion.BROWN, (-1.0, 0.0, 0.0, 0.0))
    extent = ray_extent(camera)
    ends = (-extent.left, -extent.top, extent.right, extent.bottom)
    assert ends == pytest.approx([1 / np.sqrt(3)] * 4, abs=1e-3)
