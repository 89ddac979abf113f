"""Rendered rooms: the same by seed, exact in depth and pose, seen by different cameras, cheap to make."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vlm3.work import calls
from vlm3.geometry.camera import Distortion
from vlm3.geometry.rigid import check_rigid, invert, transform
from vlm3.scenes.checks import check_frame
from vlm3.scenes.depth_labels import random_labels
from vlm3.scenes.schema import Frame
from vlm3.seeds import generator
from vlm3.sources.rooms.layout import furnish
from vlm3.sources.rooms.reader import LENSES, RoomsConfig, RoomsReader, camera_of
from vlm3.sources.rooms.render import render

CONFIG = RoomsConfig(scenes=12, frames_per_scene=4, seed=5)


def frames(config: RoomsConfig, scene: int = 0) -> list[Frame]:
    reader = RoomsReader(config)
    return list(reader.frames(reader.scenes()[scene]))


def test_a_scene_depends_on_the_seed_and_its_number_alone() -> None:
    one, same = frames(CONFIG, 3), frames(CONFIG.model_copy(update={"scenes": 5}), 3)
    other = frames(CONFIG.model_copy(update={"seed": 6}), 3)
    assert [f.encoded_image for f in one] == [f.encoded_image for f in same]
    assert all(np.array_equal(a.points, b.points) for a, b in zip(one, same, strict=True))
    assert one[0].encoded_image != other[0].encoded_image


def test_every_frame_passes_the_checks_of_ingest() -> None:
    for scene in range(CONFIG.scenes):
        for frame in frames(CONFIG, scene):
            assert check_frame(frame) is None
            assert check_rigid(frame.world_T_cam) is None
            assert len(frame.points) == 1024


@settings(max_examples=25)
@given(
    st.floats(3, 60),
    st.floats(1, 40),
    st.sampled_from([(32, 32), (160, 120), (97, 203), (256, 64)]),
    st.sampled_from(LENSES[1:]),
    st.integers(0, 999),
)
def test_labels_lie_where_the_lens_has_a_ray(
    short: float, ratio: float, size: tuple[int, int], lens: tuple[Distortion, tuple[float, ...]], seed: int
) -> None:
    config = RoomsConfig(
        scenes=1,
        frames_per_scene=1,
        width_px=size[0],
        height_px=size[1],
        focal_range_px=(short, short * ratio),
        seed=seed,
    )
    camera = camera_of(config, LENSES.index(lens))
    room = furnish(generator(seed, "room", 0), 1, (2.5, 10.0))
    z_depth_m = render(room, camera, room.world_T_cam[0]).z_depth_m
    v, u = np.mgrid[: camera.height_px, : camera.width_px].astype(float)
    has_ray = np.isfinite(camera.unproject(np.stack([u.ravel(), v.ravel()], -1))[:, 2]).reshape(z_depth_m.shape)
    assert (np.isfinite(z_depth_m) == has_ray).all()
    points = random_labels(z_depth_m, camera, np.random.default_rng(seed))
    # Asked again without the pixels around them, and as they are stored.
    assert np.isfinite(camera.unproject(points[:, :2])).all() and (points[:, 2] > 0).all()


@pytest.mark.parametrize("focal_range_px", [(20.0, 180.0), (5.0, 20.0), (70.0, 180.0)])
@pytest.mark.parametrize("size", [(160, 120), (64, 96)])
def test_frames_of_short_focals_pass_the_checks_of_ingest(
    focal_range_px: tuple[float, float], size: tuple[int, int]
) -> None:
    config = RoomsConfig(
        scenes=12, frames_per_scene=1, width_px=size[0], height_px=size[1], focal_range_px=focal_range_px, seed=5
    )
    found = [frame for scene in range(config.scenes) for frame in frames(config, scene)]
    assert [check_frame(frame) for frame in found] == [None] * len(found)
    assert len({frame.camera_id for frame in found}) >= 3


@pytest.mark.parametrize("size", [(4096, 32), (32, 4096), (1024, 32)])
def test_cameras_of_long_images_look_at_them(size: tuple[int, int]) -> None:
    for seed in range(20):
        config = RoomsConfig(scenes=1, width_px=size[0], height_px=size[1], seed=seed)
        assert [camera_of(config, lens).fault() for lens in range(4)] == [None] * 4


def test_a_source_is_seen_by_cameras_of_different_focal_and_lens() -> None:
    cameras = [camera_of(CONFIG, lens) for lens in range(4)]
    assert len({camera.fx_px for camera in cameras}) == 4
    assert {camera.distortion for camera in cameras} == set(Distortion)
    seen = {frame.camera_id for scene in range(CONFIG.scenes) for frame in frames(CONFIG, scene)[:1]}
    assert len(seen) >= 3


@pytest.mark.parametrize("scene", range(6))
def test_labels_of_one_frame_agree_with_the_depth_of_another(scene: int) -> None:
    rng = generator(CONFIG.seed, "room", scene)
    room = furnish(rng, 2, (3.0, 8.0))
    camera = camera_of(CONFIG, scene % 4)
    first, second = (render(room, camera, pose) for pose in room.world_T_cam)
    v, u = (index[::7].astype(float) for index in np.nonzero(np.isfinite(first.z_depth_m)))
    z_m = first.z_depth_m[v.astype(int), u.astype(int)]
    points_cam1 = camera.unproject(np.stack([u, v], -1)) * z_m[:, None]
    cam2_T_cam1 = invert(room.world_T_cam[1]) @ room.world_T_cam[0]
    points_cam2 = transform(cam2_T_cam1, points_cam1)
    at = camera.project(points_cam2)
    inside = np.isfinite(at[:, 0]) & (at >= 0).all(1) & (at < (camera.width_px - 1, camera.height_px - 1)).all(1)
    column, row = np.rint(at[inside]).astype(int).T
    error = np.abs(second.z_depth_m[row, column] / points_cam2[inside, 2] - 1)
    assert inside.sum() > 200
    assert np.nanmedian(error) < 0.01, "half a pixel on a slanted wall is all that is allowed"


def test_boxes_hold_the_surface_that_is_seen_of_them() -> None:
    checked = 0
    for scene in range(CONFIG.scenes):
        rng = generator(CONFIG.seed, "room", scene)
        room = furnish(rng, 1, (3.0, 8.0))
        camera = camera_of(CONFIG, 0)
        seen = render(room, camera, room.world_T_cam[0])
        for index, item in enumerate(room.furniture):
            v, u = np.nonzero(seen.furniture == index)
            if not len(u):
                continue
            points_cam = camera.unproject(np.stack([u, v], -1)) * seen.z_depth_m[v, u][:, None]
            points = (transform(room.world_T_cam[0], points_cam) - item.center_m) @ item.world_R_object
            assert (np.abs(points) <= item.size_m / 2 + 1e-6).all()
            checked += 1
    assert checked > 10


def test_a_frame_takes_no_more_calls_when_it_is_larger() -> None:
    needed = []
    for width_px in (160, 320):
        config = CONFIG.model_copy(update={"width_px": width_px, "height_px": width_px * 3 // 4})
        count = len(frames(config))
        needed.append(calls(lambda config=config: frames(config)) / count)
    # A thousand calls: more than thirty frames a second on one core.
    assert needed[1] < 1.1 * needed[0] < 2000
