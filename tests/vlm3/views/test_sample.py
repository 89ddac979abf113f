"""What becomes of a frame's boxes in its unified view."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.frames import make_frame
from vlm3.geometry.camera import Camera, Distortion
from vlm3.geometry.depth import DepthKind
from vlm3.scenes.schema import Box, Frame
from vlm3.views.sample import view_sample
from vlm3.views.samples import ViewSample
from vlm3.views.unify import UnifiedView, UnifyPolicy, unified_camera

Region = tuple[float, float, float, float]
PINHOLE = Camera(320, 240, 200.0, 210.0, 158.0, 121.0)
BROWN = Camera(320, 240, 200.0, 210.0, 158.0, 121.0, Distortion.BROWN, (-0.15, 0.02, 0.001, -0.001))
FISHEYE = Camera(320, 240, 150.0, 150.0, 158.0, 121.0, Distortion.FISHEYE, (0.01, -0.01, 0.0, 0.0))
CAMERA = st.sampled_from([PINHOLE, BROWN, FISHEYE])
SIDE = st.floats(5, 60)


def named(region_px: Region | None) -> Box:
    return Box("chair", (0.1, 0.2, 3.0), (0.5, 1.0, 0.6), (1, 0, 0, 0, 1, 0, 0, 0, 1), region_px)


def sampled(
    camera: Camera, boxes: tuple[Box, ...] | None, focal_px: float = 200.0, max_pixels: int = 2**22
) -> ViewSample:
    frame: Frame = replace(make_frame("scene-0", 0), camera=camera, boxes=boxes)
    target = unified_camera(camera, UnifyPolicy(focal_px, 32, 1024, max_pixels))
    image = np.zeros((target.height_px, target.width_px, 3), np.uint8)
    return view_sample(frame, UnifiedView(image, target, camera), DepthKind.Z, None)


def test_a_region_scales_with_the_image_and_the_box_stays() -> None:
    (found,) = sampled(PINHOLE, (named((40.0, 30.0, 140.0, 200.0)),), focal_px=400.0).boxes
    # c → (c + 0.5)·s − 0.5 with s = 400 / 200 in x and 400 / 210 in y.
    assert found.region_px == pytest.approx((80.5, 57.595, 280.5, 381.405), abs=1e-3)
    assert replace(found, region_px=None) == named(None)


def test_what_reaches_out_of_the_image_is_cut_and_what_is_mostly_outside_is_dropped() -> None:
    # At most 72 tokens: 310 × 230 px are cut to 288 × 224 about the middle; x begins at 11 px and y at 3.
    camera = Camera(310, 230, 200.0, 200.0, 154.5, 114.5)
    seen = sampled(camera, (named((1.0, 50.0, 31.0, 90.0)), named((1.0, 50.0, 21.0, 90.0))), max_pixels=72 * 32**2)
    assert seen.image.shape == (224, 288, 3)
    # The first keeps 20 of 30 columns, the second 10 of 20.
    assert [box.region_px for box in seen.boxes] == [pytest.approx((0.0, 47.0, 20.0, 87.0))]


def test_boxes_that_nothing_names_are_dropped() -> None:
    point, outside = (5.0, 5.0, 5.0, 9.0), (-90.0, 5.0, -10.0, 50.0)
    assert sampled(PINHOLE, (named(None), named(point), named(outside))).boxes == ()
    assert sampled(PINHOLE, ()).boxes == sampled(PINHOLE, None).boxes == ()


def test_a_region_beyond_the_reach_of_the_lens_is_dropped() -> None:
    strong = Camera(320, 240, 100.0, 100.0, 159.5, 119.5, Distortion.BROWN, (-0.3, 0.0, 0.0, 0.0))
    middle = (120.0, 90.0, 200.0, 150.0)
    corner = (0.0, 0.0, 60.0, 60.0)
    assert np.isnan(strong.unproject(np.array([[0.0, 0.0]]))).all()
    assert [box.region_px is not None for box in sampled(strong, (named(corner), named(middle))).boxes] == [True]


@given(CAMERA, st.floats(80, 150), st.floats(60, 100), SIDE, SIDE, st.integers(0, 99))
def test_a_region_holds_what_it_held_before(
    camera: Camera, x: float, y: float, width: float, height: float, seed: int
) -> None:
    seen = sampled(camera, (named((x, y, x + width, y + height)),))
    (found,) = seen.boxes
    assert found.region_px is not None
    x0, y0, x1, y1 = found.region_px
    points_px = np.random.default_rng(seed).uniform((x, y), (x + width, y + height), (200, 2))
    u, v = seen.camera.project(camera.unproject(points_px)).T
    # The outline is sampled: between its points a lens bulges by a fraction of a pixel.
    assert x0 - 0.7 < u.min() and u.max() < x1 + 0.7 and y0 - 0.7 < v.min() and v.max() < y1 + 0.7


@pytest.mark.parametrize("camera", [PINHOLE, BROWN, FISHEYE])
def test_geometry_stays_in_the_frame_of_the_camera(camera: Camera) -> None:
    corners_m = np.array([(x, y, 3.0) for x in (-0.15, 0.35) for y in (-0.3, 0.7)])
    before_px = camera.project(corners_m)
    region_px = (*before_px.min(axis=0).tolist(), *before_px.max(axis=0).tolist())
    seen = sampled(camera, (named(region_px),))
    after_px = seen.camera.project(corners_m)
    expected = (*after_px.min(axis=0).tolist(), *after_px.max(axis=0).tolist())
    # A lens bends the sides of the rectangle around the four corners.
    assert seen.boxes[0].region_px == pytest.approx(expected, abs=1e-9 if camera is PINHOLE else 3.0)
