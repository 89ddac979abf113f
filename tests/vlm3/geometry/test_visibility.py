"""What a depth map tells of a point, against surfaces whose answer is known."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vlm3.geometry.camera import Camera, Distortion
from vlm3.geometry.visibility import Sight, sight

CAMERA = Camera(40, 30, 40.0, 41.0, 19.5, 14.5)


def pixels(count: int = 300, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform((-0.5, -0.5), (39.49, 29.49), (count, 2))


def at(
    points_px: NDArray[np.float64], z_m: NDArray[np.float64] | float, camera: Camera = CAMERA
) -> NDArray[np.float64]:
    return camera.unproject(points_px) * np.broadcast_to(z_m, len(points_px))[:, None]


def wall(z_m: float) -> NDArray[np.float64]:
    return np.full((30, 40), float(z_m))


def plane(normal: tuple[float, float, float], points_px: NDArray[np.float64], camera: Camera) -> NDArray[np.float64]:
    """z-depth of the plane n·p = 1 at pixels."""
    return 1 / (camera.unproject(points_px) @ np.array(normal))


def samples(camera: Camera, normal: tuple[float, float, float]) -> NDArray[np.float64]:
    v, u = np.mgrid[:30, :40].astype(float)
    return plane(normal, np.stack([u.ravel(), v.ravel()], -1), camera).reshape(30, 40)


def told(found: Sight) -> set[str]:
    assert not (found.visible & found.occluded).any()
    answers = np.where(found.visible, "visible", np.where(found.occluded, "occluded", "undecided"))
    return set(answers.tolist())


@given(st.floats(0.2, 50), st.floats(-0.045, 0.045))
def test_a_point_within_five_percent_of_a_wall_is_on_it(z_m: float, error: float) -> None:
    assert told(sight(at(pixels(), z_m * (1 + error)), wall(z_m), CAMERA)) == {"visible"}


@given(st.floats(0.2, 50), st.floats(1.06, 10))
def test_behind_a_wall_is_occluded_and_in_front_of_it_is_undecided(z_m: float, factor: float) -> None:
    assert told(sight(at(pixels(), z_m * factor), wall(z_m), CAMERA)) == {"occluded"}
    assert told(sight(at(pixels(), z_m / factor), wall(z_m), CAMERA)) == {"undecided"}


@given(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(0.31, 3))
def test_points_between_the_samples_of_a_slanted_plane_lie_on_it_exactly(x: float, y: float, z: float) -> None:
    # The plane is in front of the camera in the whole image.
    normal = (x, y, z + abs(x) / 2 + abs(y) / 2)
    inner = pixels().clip((0, 0), (39, 29))
    on_it = at(inner, plane(normal, inner, CAMERA))
    assert told(sight(on_it, samples(CAMERA, normal), CAMERA, relative_tolerance=1e-9)) == {"visible"}


def test_a_floor_seen_at_a_grazing_angle_is_visible_where_its_nearest_sample_is_ten_percent_off() -> None:
    floor = (0.0, 1 / 1.5, 0.0)
    below = np.array([[10.3, 19.49], [30.2, 20.51]])
    z_m = plane(floor, below, CAMERA)
    v, u = np.mgrid[:30, :40].astype(float)
    with np.errstate(divide="ignore"):
        depth = plane(floor, np.stack([u.ravel(), v.ravel()], -1), CAMERA).reshape(30, 40)
    depth[:15] = np.nan
    nearest = depth[np.rint(below[:, 1]).astype(int), np.rint(below[:, 0]).astype(int)]
    assert np.abs(nearest / z_m - 1).min() > 0.05
    assert told(sight(at(below, z_m), depth, CAMERA)) == {"visible"}


def test_at_an_edge_between_samples_only_what_lies_behind_both_sides_is_decided() -> None:
    step = wall(4)
    step[:, :20] = 2
    between = np.array([[19.4, 10.0], [19.6, 12.3]])
    assert told(sight(at(between, 4), step, CAMERA)) == {"undecided"}
    assert told(sight(at(between, 2), step, CAMERA)) == {"undecided"}
    assert told(sight(at(between, 5), step, CAMERA)) == {"occluded"}
    # One sample further on either side there is no doubt.
    assert told(sight(at(np.array([[20.0, 9.0], [21.5, 9.5]]), 4), step, CAMERA)) == {"visible"}
    assert told(sight(at(np.array([[18.9, 9.0], [17.5, 9.5]]), 4), step, CAMERA)) == {"occluded"}


def test_where_the_nearest_sample_is_missing_nothing_is_told() -> None:
    for missing in (np.nan, 0.0):
        holed = wall(2)
        holed[10, 10] = missing
        near = np.array([[10.0, 10.0], [10.4, 9.6], [9.6, 10.4]])
        for z_m in (1, 2, 3):
            assert told(sight(at(near, z_m), holed, CAMERA)) == {"undecided"}
        assert told(sight(at(np.array([[10.6, 10.0], [9.0, 9.4]]), 2), holed, CAMERA)) == {"visible"}


def test_a_sparse_map_is_believed_at_its_samples() -> None:
    sparse = np.full((30, 40), np.nan)
    sparse[::3, ::3] = 5.0
    here = np.array([[3.0, 6.0], [9.3, 12.4], [26.6, 21.3]])
    assert told(sight(at(here, 5), sparse, CAMERA)) == {"visible"}
    assert told(sight(at(here, 6), sparse, CAMERA)) == {"occluded"}
    assert told(sight(at(here + 1, 5), sparse, CAMERA)) == {"undecided"}


def test_outside_the_map_or_behind_the_camera_nothing_is_told() -> None:
    outside = at(np.array([[-0.6, 3.0], [39.6, 3.0], [3.0, -0.6], [3.0, 29.6]]), 2)
    behind = np.array([[0.0, 0.0, -2.0], [0.0, 0.0, 0.0], [np.nan, np.nan, np.nan]])
    assert told(sight(np.concatenate([outside, behind]), wall(2), CAMERA)) == {"undecided"}


def test_a_map_of_one_pixel_and_an_empty_list_of_points_are_fine() -> None:
    dot = Camera(1, 1, 1.0, 1.0, 0.0, 0.0)
    assert told(sight(np.array([[0.0, 0.0, 2.0]]), np.array([[2.0]]), dot)) == {"visible"}
    assert told(sight(np.empty((0, 3)), wall(2), CAMERA)) == set()


def test_the_map_is_read_through_its_lens() -> None:
    bent = Camera(40, 30, 40.0, 41.0, 19.5, 14.5, Distortion.FISHEYE, (0.0, 0.0, 0.0, 0.0))
    step = wall(4)
    step[:, :4] = 2
    right_of_it = at(np.array([[4.1, 4.0], [4.1, 25.0]]), 4, bent)
    assert told(sight(right_of_it, step, bent)) == {"visible"}
    # The same rays without the lens are looked up a pixel further out.
    assert told(sight(right_of_it, step, CAMERA)) == {"occluded"}
