"""Pair samples of rendered rooms, held to the renderer's exact answer, ray by ray."""

import math
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from tests.source_pixels import source_pixels
from vlm3.geometry.camera import Camera, Distortion
from vlm3.geometry.depth import DepthKind, convert_depth
from vlm3.geometry.rigid import transform
from vlm3.geometry.visibility import RELATIVE_TOLERANCE
from vlm3.scenes.depth_labels import random_labels, shrink_depth
from vlm3.scenes.schema import Frame, IntrinsicsSource, Scale
from vlm3.seeds import generator
from vlm3.sources.rooms.layout import Furniture, Room
from vlm3.sources.rooms.reader import RoomsConfig, camera_of
from vlm3.sources.rooms.render import render
from vlm3.views.pair_sample import pair_sample
from vlm3.views.samples import PairSample
from vlm3.views.unify import UnifiedView, UnifyPolicy, unified_camera

LENSES = range(4)
PAIRS = ((0, 1), (2, 1), (2, 0))
POINTS = 80
SMALL = RoomsConfig(scenes=1, seed=14)
LARGE = SMALL.model_copy(update={"width_px": 320, "height_px": 240})
"""Whose small depth map holds 224 of 320 columns."""


@cache
def scene(config: RoomsConfig, lens: int) -> tuple[Room, tuple[Frame, ...]]:
    """A room full of columns and three frames of it, a metre or two apart; images are left out."""
    rng = generator("columns", lens)
    columns = tuple(
        Furniture("column", np.array([x, -size[1] / 2, z]), size, float(rng.uniform(0, 3)), np.ones(3))
        for x, z in rng.uniform((-2.5, -1.0), (2.5, 2.5), (12, 2))
        if len(size := rng.uniform((0.1, 0.5, 0.1), (0.5, 2.2, 0.5)))
    )
    poses = []
    for x, yaw in ((-1.2, 12), (0.0, 2), (1.0, -8)):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler("YXZ", [yaw, -8, 2], degrees=True).as_matrix()
        pose[:3, 3] = x, -1.4 + 0.1 * x, -2.6 + 0.2 * x
        poses.append(pose)
    low, high = np.array([-3.0, -2.6, -3.0]), np.array([3.0, 0.0, 3.0])
    room = Room(low, high, columns, np.ones((6, 3)), 0.5, tuple(poses))
    camera = camera_of(config, lens)
    return room, tuple(frame_of(room, camera, index, rng) for index in range(len(poses)))


def frame_of(room: Room, camera: Camera, index: int, rng: np.random.Generator) -> Frame:
    z_depth_m = render(room, camera, room.world_T_cam[index]).z_depth_m
    return Frame(
        source="rooms",
        scene="columns",
        frame=f"{index}",
        camera_id="cam",
        encoded_image=b"",
        camera=camera,
        intrinsics_source=IntrinsicsSource.GIVEN,
        world_T_cam=room.world_T_cam[index],
        scale=Scale.METRIC,
        depth_kind=DepthKind.Z,
        points=random_labels(z_depth_m, camera, rng),
        small_depth=shrink_depth(z_depth_m, camera),
        time_s=float(index),
    )


def unified(frame: Frame, focal_px: float = 150.0) -> UnifiedView:
    """The unified cameras; nothing here looks at pixels."""
    camera = unified_camera(frame.camera, UnifyPolicy(focal_px, 16, 1024, 2**20))
    return UnifiedView(np.zeros((camera.height_px, camera.width_px, 3), np.uint8), camera, frame.camera)


def sampled(frame1: Frame, frame2: Frame) -> PairSample:
    return pair_sample(
        frame1,
        frame2,
        unified(frame1),
        unified(frame2),
        overlap=0.5,
        target=DepthKind.RAY,
        position=3,
    )


def cast(room: Room, frame: Frame, camera: Camera, point_px: NDArray[np.float64]) -> float:
    """Exact z-depth of what `frame` sees through one point of the unified image: a picture of a single pixel."""
    dot = Camera(1, 1, camera.fx_px, camera.fy_px, camera.cx_px - point_px[0], camera.cy_px - point_px[1])
    return float(render(room, dot, frame.world_T_cam).z_depth_m[0, 0])


@dataclass(frozen=True)
class Truth:
    """Of the points of a sample that are in view 2."""

    error_px: NDArray[np.float64]
    """How far, in view 1, from the label the surface lies that camera 2 sees through the corresponding point."""
    hidden_by: NDArray[np.float64]
    """How far, as a share of its depth, the point lies behind that surface."""
    at_edge: NDArray[np.bool_]
    """True where the surface jumps within a pixel of the small depth map."""
    visible: NDArray[np.bool_]


def truth(room: Room, frame1: Frame, frame2: Frame, sample: PairSample) -> Truth:
    camera1, camera2 = sample.view1.camera, sample.view2.camera
    rows = np.flatnonzero(np.isfinite(sample.points2_px[:, 0]))
    rows = rows[:: max(1, len(rows) // POINTS)]
    errors, hidden = [], []
    for point1_px, point2_px in zip(sample.points1_px[rows], sample.points2_px[rows], strict=True):
        seen_m = cast(room, frame2, camera2, point2_px)
        surface_cam2 = camera2.unproject(point2_px[None]) * seen_m
        back_px = camera1.project(transform(sample.cam1_T_cam2, surface_cam2))[0]
        errors.append(np.linalg.norm(back_px - point1_px))
        label_cam1 = camera1.unproject(point1_px[None]) * cast(room, frame1, camera1, point1_px)
        hidden.append(1 - seen_m / transform(np.linalg.inv(sample.cam1_T_cam2), label_cam1)[0, 2])
    u, v = np.rint(source_pixels(unified(frame2), sample.points2_px[rows])).astype(int).T
    return Truth(np.array(errors), np.array(hidden), edges(room, frame2)[v, u], sample.visible[rows])


def edges(room: Room, frame: Frame) -> NDArray[np.bool_]:
    """(H, W) True within a pixel of the small depth map of where the surface jumps or folds."""
    inverse_z = 1 / render(room, frame.camera, frame.world_T_cam).z_depth_m
    # On a plane 1/z is affine in the pixels of a pinhole, and nearly so in those of these lenses.
    bend = np.abs(cv2.Laplacian(inverse_z, cv2.CV_64F, borderType=cv2.BORDER_REPLICATE)) / inverse_z
    cell_px = frame.camera.width_px / frame.small_depth.z_depth_m.shape[1]
    reach = np.ones((2 * math.ceil(cell_px) + 1,) * 2, np.uint8)
    return cv2.dilate((bend > 0.03).astype(np.uint8), reach).astype(bool)


@pytest.mark.parametrize("config", [SMALL, LARGE], ids=["every pixel in the small map", "two of three"])
def test_correspondence_and_visibility_are_the_renderers(config: RoomsConfig) -> None:
    found, lenses = [], set()
    for lens in LENSES:
        room, frames = scene(config, lens)
        lenses.add(frames[0].camera.distortion)
        for i, j in PAIRS:
            found.append(truth(room, frames[i], frames[j], sampled(frames[i], frames[j])))
    assert lenses == set(Distortion)
    error_px, hidden_by, at_edge, visible = (
        np.concatenate([getattr(item, name) for item in found])
        for name in ("error_px", "hidden_by", "at_edge", "visible")
    )
    seen = np.abs(hidden_by) < 1e-3
    assert error_px[seen].max() < 0.05
    assert seen.sum() > 500 and (~seen).sum() > 100
    assert not (~visible & seen & ~at_edge).any()
    assert not (visible & ~seen & ~at_edge).any()
    # Between the samples beside an edge the map's surface is a ramp: few hidden points lie just on it.
    assert (hidden_by[visible] > RELATIVE_TOLERANCE).mean() < 0.01
    assert at_edge.mean() < 0.3


@pytest.mark.parametrize("lens", LENSES)
def test_few_labels_are_left_out(lens: int) -> None:
    _, frames = scene(SMALL, lens)
    for i, j in PAIRS:
        sample = sampled(frames[i], frames[j])
        assert len(sample.points1_px) > 0.85 * len(sample.view1.points_px)


@pytest.mark.parametrize("lens", LENSES)
def test_the_swapped_pair_is_the_inverse(lens: int) -> None:
    _, frames = scene(SMALL, lens)
    for i, j in PAIRS:
        there = sampled(frames[i], frames[j])
        assert there.visible.sum() > 200
        # Labels of frame j exactly where those of frame i are seen.
        points2_px = there.points2_px[there.visible]
        rays1 = there.view1.camera.unproject(there.points1_px)
        own = dict(zip(map(tuple, there.view1.points_px.tolist()), there.view1.depth_m.tolist(), strict=True))
        ray_m = np.array([own[tuple(point)] for point in there.points1_px.tolist()])
        points_cam1 = rays1 * (ray_m / np.linalg.norm(rays1, axis=1))[:, None]
        z2_m = transform(np.linalg.inv(there.cam1_T_cam2), points_cam1)[there.visible, 2]
        source_px = source_pixels(unified(frames[j]), points2_px)
        labels = np.column_stack([source_px, z2_m]).astype(np.float32)
        back = sampled(replace(frames[j], points=labels), frames[i])
        assert np.abs(back.cam1_T_cam2 @ there.cam1_T_cam2 - np.eye(4)).max() < 1e-12
        assert back.visible.all()
        np.testing.assert_allclose(back.points1_px, points2_px, atol=0.05)
        np.testing.assert_allclose(back.points2_px, there.points1_px[there.visible], atol=0.05)


def test_a_sample_holds_both_views_their_pose_and_where_they_came_from() -> None:
    _, frames = scene(SMALL, 1)
    sample = sampled(frames[0], replace(frames[1], scale=Scale.RELATIVE))
    for view, frame in ((sample.view1, frames[0]), (sample.view2, frames[1])):
        assert (view.provenance.frame, view.provenance.position) == (frame.frame, 3)
        assert view.depth_kind is DepthKind.RAY
        assert view.camera.fx_px == view.camera.fy_px == 150.0
    assert (sample.view1.scale, sample.view2.scale) == (Scale.METRIC, Scale.RELATIVE)
    assert sample.overlap == 0.5
    np.testing.assert_allclose(
        frames[0].world_T_cam @ sample.cam1_T_cam2, frames[1].world_T_cam, atol=1e-12, err_msg="cam1_T_cam2"
    )
    assert set(map(tuple, sample.points1_px.tolist())) <= set(map(tuple, sample.view1.points_px.tolist()))


def test_out_of_view_is_nan_and_occluded_has_a_place() -> None:
    _, frames = scene(SMALL, 0)
    sample = sampled(frames[2], frames[0])
    outside = np.isnan(sample.points2_px).any(axis=1)
    assert outside.any() and (~outside & ~sample.visible).any()
    assert not sample.visible[outside].any()
    camera = sample.view2.camera
    inside = sample.points2_px[~outside]
    assert (inside >= -0.5).all() and (inside < (camera.width_px - 0.5, camera.height_px - 0.5)).all()


def test_nothing_is_found_in_the_padding() -> None:
    _, frames = scene(SMALL, 0)
    padded = unified(frames[0])
    sample = sampled(frames[2], frames[0])
    found = source_pixels(padded, sample.points2_px[np.isfinite(sample.points2_px[:, 0])])
    assert padded.camera.width_px * padded.camera.height_px > padded.valid_mask().sum(), "there is padding"
    assert np.isfinite(found).all()
    assert np.isnan(sample.points2_px).any()


def test_a_point_that_is_cut_off_is_out_of_view() -> None:
    _, frames = scene(SMALL, 0)
    tight = UnifyPolicy(150.0, 16, 256, 96 * 96)
    camera = unified_camera(frames[1].camera, tight)
    image = np.zeros((camera.height_px, camera.width_px, 3), np.uint8)
    cut = pair_sample(
        frames[0],
        frames[1],
        unified(frames[0]),
        UnifiedView(image, camera, frames[1].camera),
        overlap=0.5,
        target=DepthKind.Z,
        position=None,
    )
    assert cut.visible.sum() < 0.7 * sampled(frames[0], frames[1]).visible.sum()
    assert not cut.visible[np.isnan(cut.points2_px[:, 0])].any()


def test_labels_along_the_ray_and_along_the_axis_give_the_same_points() -> None:
    _, frames = scene(SMALL, 3)
    u, v, z_m = frames[0].points.T
    ray_m = convert_depth(z_m, np.stack([u, v], -1), frames[0].camera, DepthKind.Z, DepthKind.RAY)
    along_ray = replace(frames[0], points=np.stack([u, v, ray_m], -1).astype(np.float32), depth_kind=DepthKind.RAY)
    one, other = sampled(frames[0], frames[1]), sampled(along_ray, frames[1])
    np.testing.assert_allclose(one.points2_px, other.points2_px, atol=1e-3)
    np.testing.assert_array_equal(one.visible, other.visible)


def test_where_the_second_map_has_a_hole_points_are_left_out_not_called_visible() -> None:
    _, frames = scene(SMALL, 0)
    whole = sampled(frames[0], frames[1])
    z_depth_m = frames[1].small_depth.z_depth_m.copy()
    z_depth_m[:, :80] = np.nan
    holed = sampled(frames[0], replace(frames[1], small_depth=replace(frames[1].small_depth, z_depth_m=z_depth_m)))
    at_px = source_pixels(unified(frames[1]), holed.points2_px)[:, 0]
    assert (at_px[np.isfinite(at_px)] > 79).all()
    out_of_view = np.isnan(whole.points2_px[:, 0]).sum()
    assert np.isnan(holed.points2_px[:, 0]).sum() == out_of_view > 0
    assert 0 < holed.visible.sum() < whole.visible.sum()


def test_without_correspondence_there_is_a_pose_and_no_point() -> None:
    _, frames = scene(SMALL, 0)
    one, other = frames[0], frames[1]
    moving = sampled(replace(one, dynamic=True), replace(other, dynamic=True))
    mapless = sampled(one, replace(other, small_depth=None))
    for sample in (moving, mapless):
        assert sample.points1_px.shape == sample.points2_px.shape == (0, 2)
        assert sample.visible.shape == (0,)
        assert len(sample.view1.points_px) > 0
        np.testing.assert_array_equal(sample.cam1_T_cam2, sampled(one, other).cam1_T_cam2)
    rig = sampled(replace(one, dynamic=True, time_s=7.0), replace(other, dynamic=True, time_s=7.0))
    np.testing.assert_array_equal(rig.points2_px, sampled(one, other).points2_px)


def test_frames_of_two_scenes_and_frames_without_a_pose_are_no_pair() -> None:
    _, frames = scene(SMALL, 0)
    with pytest.raises(ValueError, match="rooms/columns/0 and rooms/hall/1"):
        sampled(frames[0], replace(frames[1], scene="hall"))
    with pytest.raises(ValueError, match="rooms/columns/1 without a pose"):
        sampled(frames[0], replace(frames[1], world_T_cam=None))
