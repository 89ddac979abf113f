"""Covisibility against cases whose answer is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vlm3.geometry.camera import Camera, Distortion
from vlm3.geometry.covisibility import PosedDepth, covisible_shares, frustum_shares
from vlm3.geometry.rigid import invert

CAMERA = Camera(80, 60, 80.0, 80.0, 39.5, 29.5)
SAME = np.eye(4)


PAIR = ~np.eye(2, dtype=bool)


def shares(
    z1_m: NDArray[np.floating], camera1: Camera, z2_m: NDArray[np.floating], camera2: Camera, pose: NDArray[np.float64]
) -> tuple[float, float]:
    """Of view 1 seen by view 2 and the other way round; `pose` is cam1_T_cam2."""
    both = covisible_shares([PosedDepth(z1_m, camera1, SAME), PosedDepth(z2_m, camera2, pose)], PAIR)
    return float(both[0, 1]), float(both[1, 0])


def covisible_share(
    z1_m: NDArray[np.floating], camera1: Camera, z2_m: NDArray[np.floating], camera2: Camera, pose: NDArray[np.float64]
) -> float:
    forth, back = shares(z1_m, camera1, z2_m, camera2, pose)
    assert (back, forth) == pytest.approx(shares(z2_m, camera2, z1_m, camera1, invert(pose)), abs=0.02)
    return forth


def frustum_overlap(pose: NDArray[np.float64]) -> float:
    both = frustum_shares([CAMERA, CAMERA], [SAME, pose], PAIR)
    return float(both[0, 1] + both[1, 0]) / 2


def wall(z_m: float, camera: Camera = CAMERA) -> NDArray[np.float64]:
    return np.full((camera.height_px, camera.width_px), float(z_m))


def moved(x_m: float = 0.0, z_m: float = 0.0) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[0, 3], pose[2, 3] = x_m, z_m
    return pose


def turned(degrees: float) -> NDArray[np.float64]:
    pose = np.eye(4)
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    pose[:3, :3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    return pose


def test_a_view_sees_all_of_itself() -> None:
    assert covisible_share(wall(2), CAMERA, wall(2), CAMERA, SAME) == 1.0
    assert shares(wall(2), CAMERA, wall(2), CAMERA, SAME) == (1.0, 1.0)


@given(st.integers(0, 79))
def test_a_sideways_step_before_a_wall_hides_the_columns_that_leave_the_image(columns: int) -> None:
    # At 2 m one pixel is 2/80 m wide.
    assert covisible_share(wall(2), CAMERA, wall(2), CAMERA, moved(x_m=columns * 2 / 80)) == (80 - columns) / 80


def test_a_step_forward_narrows_one_direction_only() -> None:
    # From 4 m away to 2 m: the near view sees the middle half of each side, and all it sees lies in the far view.
    far, near = wall(4), wall(2)
    forth, back = shares(far, CAMERA, near, CAMERA, moved(z_m=2))
    assert forth == pytest.approx(0.25, abs=0.01)
    assert back == 1.0


def test_what_something_hides_is_not_covisible() -> None:
    curtained = wall(2)
    curtained[:, 20:] = 1.0
    assert covisible_share(wall(2), CAMERA, curtained, CAMERA, SAME) == 0.25


@pytest.mark.parametrize(("depth_m", "share"), [(2.09, 1.0), (2.11, 0.0), (1.91, 1.0), (1.90, 0.0)])
def test_depths_agree_within_five_percent_of_the_second_map(depth_m: float, share: float) -> None:
    assert covisible_share(wall(2), CAMERA, wall(depth_m), CAMERA, SAME) == share


def test_points_closer_than_four_centimetres_do_not_count() -> None:
    # Four pixels of the far view are all that the near one sees.
    assert covisible_share(wall(2), CAMERA, wall(0.039), CAMERA, moved(z_m=1.961)) == 0.0
    assert covisible_share(wall(2), CAMERA, wall(0.041), CAMERA, moved(z_m=1.959)) == 4 / 4800


@pytest.mark.parametrize("invalid", [np.nan, 0.0])
def test_pixels_without_depth_neither_count_nor_confirm(invalid: float) -> None:
    half = wall(2)
    half[:, :40] = invalid
    assert covisible_share(half, CAMERA, wall(2), CAMERA, SAME) == 1.0
    assert covisible_share(wall(2), CAMERA, half, CAMERA, SAME) == 0.5
    assert covisible_share(np.full_like(half, invalid), CAMERA, wall(2), CAMERA, SAME) == 0.0


def test_cameras_back_to_back_share_nothing() -> None:
    assert shares(wall(2), CAMERA, wall(2), CAMERA, turned(180)) == (0.0, 0.0)
    assert frustum_overlap(turned(180)) == 0.0


def test_maps_of_different_size_and_lens_are_compared_through_their_own_cameras() -> None:
    bent = Camera(160, 120, 160.0, 160.0, 79.5, 59.5, Distortion.BROWN, (-0.1, 0.01, 0.001, -0.001))
    assert covisible_share(wall(2), CAMERA, wall(2, bent), bent, SAME) == pytest.approx(1.0, abs=0.01)
    wide = Camera(80, 60, 40.0, 40.0, 39.5, 29.5)
    assert covisible_share(wall(2, wide), wide, wall(2), CAMERA, SAME) == pytest.approx(0.25, abs=0.01)


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-180, 180))
def test_overlap_of_frusta_is_a_symmetric_share(x_m: float, z_m: float, degrees: float) -> None:
    pose = turned(degrees) + moved(x_m, z_m) - np.eye(4)
    overlap = frustum_overlap(pose)
    assert 0 <= overlap <= 1
    assert frustum_overlap(np.linalg.inv(pose)) == pytest.approx(overlap, abs=1e-2)


def test_overlap_of_frusta_falls_as_cameras_turn_away() -> None:
    overlaps = [frustum_overlap(turned(degrees)) for degrees in (0, 10, 20, 40, 60)]
    assert overlaps[0] == 1.0
    assert overlaps == sorted(overlaps, reverse=True)
    assert overlaps[-1] == 0.0
    assert 0.7 < overlaps[1] < 0.9


def test_many_views_are_compared_at_once_as_they_are_two_by_two_and_only_where_asked() -> None:
    poses = [moved(x_m=0.3 * i) @ turned(4 * i) for i in range(4)]
    cameras = [CAMERA, Camera(60, 80, 70.0, 75.0, 28.0, 41.0), CAMERA, CAMERA]
    empty = np.full((60, 80), np.nan)
    depths = [wall(2), wall(2.05, cameras[1]), empty, wall(2)]
    views = [PosedDepth(z, camera, pose) for z, camera, pose in zip(depths, cameras, poses, strict=True)]
    asked = np.ones((4, 4), bool)
    asked[0, 3] = asked[1, 1] = False
    together = covisible_shares(views, asked)
    frusta = frustum_shares(cameras, poses, asked)
    for i in range(4):
        for j in range(4):
            pair = np.array([[False, True], [False, False]])
            alone = covisible_shares([views[i], views[j]], pair)[0, 1]
            assert together[i, j] == (alone if asked[i, j] else 0.0)
            alone = frustum_shares([cameras[i], cameras[j]], [poses[i], poses[j]], pair)[0, 1]
            assert frusta[i, j] == (alone if asked[i, j] else 0.0)
    assert together[3, 0] > 0.1
    assert (together[2] == 0).all() and (together[:, 2] == 0).all()


def test_a_stride_asks_about_fewer_points_and_hardly_changes_the_share() -> None:
    rng = np.random.default_rng(0)
    rough = wall(2) + rng.uniform(-0.2, 0.2, (60, 80))
    views = [PosedDepth(rough, CAMERA, SAME), PosedDepth(rough, CAMERA, moved(x_m=0.4) @ turned(5))]
    all_points, some = covisible_shares(views, PAIR), covisible_shares(views, PAIR, stride=2)
    assert np.abs(all_points - some).max() < 0.04
    assert not np.array_equal(all_points, some)
