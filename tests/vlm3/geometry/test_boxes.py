"""Oriented boxes: vectors worked out by hand, an independent solver, and what must hold for all boxes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from vlm3.geometry.boxes import OrientedBox, box_distance_m, clock_deg, clock_hour

Vector = tuple[float, float, float]
SPIN = st.tuples(*[st.floats(-3, 3)] * 3)
PLACE = st.tuples(*[st.floats(-6, 6)] * 3)
SIZE = st.tuples(*[st.floats(0.05, 5)] * 3)
QUARTERS = st.sampled_from(
    [tuple(math.pi / 2 * np.array(axis)) for axis in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 2))]
)


def box(center: Vector, size: Vector, spin: Vector = (0, 0, 0)) -> OrientedBox:
    """Turned by the rotation vector `spin` in radians."""
    return OrientedBox(np.array(center, float), np.array(size, float), Rotation.from_rotvec(spin).as_matrix())


BOXES = st.builds(box, PLACE, SIZE, SPIN | QUARTERS)


def solved_m(first: OrientedBox, second: OrientedBox) -> float:
    """By a solver of quadratic programs: nearest points in the coordinates of the two boxes, held to their halves."""
    matrix, between_m = np.hstack([first.axes, -second.axes]), second.center_m - first.center_m
    half = np.concatenate([first.size_m, second.size_m]) / 2
    found = minimize(
        lambda places: ((matrix @ places - between_m) ** 2).sum() / 2,
        np.zeros(6),
        jac=lambda places: matrix.T @ (matrix @ places - between_m),
        bounds=np.stack([-half, half], -1),
        method="SLSQP",
        options={"ftol": 1e-16, "maxiter": 500},
    )
    return float(np.sqrt(2 * found.fun))


def test_axis_aligned_boxes_are_as_far_apart_as_their_gaps() -> None:
    # First: x −1…1, y −1…1, z 4…6. Second: x 4…6, y 5…7, z 3…7.
    # Gaps: x 4 − 1 = 3, y 5 − 1 = 4, z none, so √(3² + 4²) = 5.
    assert box_distance_m(box((0, 0, 5), (2, 2, 2)), box((5, 6, 5), (2, 2, 4))) == pytest.approx(5, abs=1e-12)


def test_a_turned_box_comes_nearer_by_its_edge() -> None:
    # A cube of side √2 turned by 45° about y reaches 1 from its centre along x: its edge is at 4 − 1 = 3.
    # The face of the first is at x = 1: 3 − 1 = 2.
    turned = box((4, 0, 5), (math.sqrt(2),) * 3, (0, math.pi / 4, 0))
    assert box_distance_m(box((0, 0, 5), (2, 2, 2)), turned) == pytest.approx(2, abs=1e-12)


def test_two_edges_that_cross_are_nearest_between_their_ends() -> None:
    # Cubes of side √2: the first, turned by 45° about z, has an edge along z at x = 1; the second, turned by 45° about
    # y, has one along y at x = 5 − 1 = 4. They cross at right angles, 4 − 1 = 3 apart; all corners are farther.
    first = box((0, 0, 0), (math.sqrt(2),) * 3, (0, 0, math.pi / 4))
    second = box((5, 0, 0), (math.sqrt(2),) * 3, (0, math.pi / 4, 0))
    assert box_distance_m(first, second) == pytest.approx(3, abs=1e-12)


def test_extents_of_a_turned_box() -> None:
    # 4 × 1.5 × 2 turned by 30° about y: along x 4·cos 30° + 2·sin 30° = 3.464102 + 1 = 4.464102, along y 1.5,
    # along z 4·sin 30° + 2·cos 30° = 2 + 1.732051 = 3.732051; nearest z is 10 − 3.732051 / 2 = 8.133975.
    turned = box((0, 0, 10), (4, 1.5, 2), (0, math.pi / 6, 0))
    assert turned.extents_m == pytest.approx((4.464102, 1.5, 3.732051), abs=1e-6)
    assert turned.nearest_z_m == pytest.approx(8.133975, abs=1e-6)


@pytest.mark.parametrize(
    ("from_m", "to_m", "degrees", "hour"),
    [
        # Δx = 2, Δz = 0: to the right.
        ((1, 0, 4), (3, 7, 4), 90, 3),
        # Δx = −1, Δz = √3: atan2(−1, √3) = −30°, that is 330°: 330 / 30 = 11.
        ((0, 0, 2), (-1, 0, 2 + math.sqrt(3)), 330, 11),
        # Away from the camera, towards it, and to the left.
        ((0, 0, 2), (0, 0, 5), 0, 12),
        ((0, 0, 5), (0, 0, 2), 180, 6),
        ((0, 0, 2), (-4, 0, 2), 270, 9),
    ],
)
def test_the_clock_runs_clockwise_seen_from_above(from_m: Vector, to_m: Vector, degrees: float, hour: int) -> None:
    found = clock_deg(np.array(from_m, float), np.array(to_m, float))
    assert found == pytest.approx(degrees, abs=1e-9)
    assert clock_hour(found) == hour


def test_each_hour_reaches_half_an_hour_to_both_sides() -> None:
    assert [clock_hour(degrees) for degrees in (14.9, 15.1, 44.9, 45.1, 345.1, 344.9, 359.9)] == [
        12,
        1,
        1,
        2,
        12,
        11,
        12,
    ]


@given(st.tuples(st.floats(-9, 9), st.floats(-9, 9)))
def test_every_direction_is_an_angle_and_an_hour(step: tuple[float, float]) -> None:
    degrees = clock_deg(np.zeros(3), np.array([step[0], 1.0, step[1]]))
    assert 0 <= degrees < 360 and 1 <= clock_hour(degrees) <= 12


@given(BOXES, BOXES)
def test_distances_are_those_of_an_independent_solver(first: OrientedBox, second: OrientedBox) -> None:
    assert box_distance_m(first, second) == pytest.approx(solved_m(first, second), abs=1e-6)


@given(BOXES, BOXES, SPIN, PLACE)
def test_distances_are_symmetric_and_move_along(
    first: OrientedBox, second: OrientedBox, spin: Vector, place: Vector
) -> None:
    turn: NDArray[np.float64] = Rotation.from_rotvec(spin).as_matrix()
    moved = [OrientedBox(turn @ b.center_m + place, b.size_m, turn @ b.axes) for b in (first, second)]
    found = box_distance_m(first, second)
    assert box_distance_m(second, first) == pytest.approx(found, abs=1e-9)
    assert box_distance_m(*moved) == pytest.approx(found, abs=1e-9)
    assert found <= np.linalg.norm(first.center_m - second.center_m)


@given(BOXES, BOXES, st.tuples(*[st.floats(-1, 1)] * 3), st.tuples(*[st.floats(-1, 1)] * 3))
def test_boxes_that_share_a_point_are_not_apart(
    first: OrientedBox, second: OrientedBox, in_first: Vector, in_second: Vector
) -> None:
    shared = first.center_m + first.axes @ (np.array(in_first) * first.size_m / 2)
    center_m = shared - second.axes @ (np.array(in_second) * second.size_m / 2)
    assert box_distance_m(first, OrientedBox(center_m, second.size_m, second.axes)) < 1e-9


@given(BOXES)
def test_extents_are_those_of_the_corners(any_box: OrientedBox) -> None:
    corners_m = any_box.corners_m()
    assert any_box.extents_m == pytest.approx(np.ptp(corners_m, axis=0), abs=1e-12)
    assert any_box.nearest_z_m == pytest.approx(corners_m[:, 2].min(), abs=1e-12)
    assert np.abs((corners_m - any_box.center_m) @ any_box.axes) == pytest.approx(
        np.tile(any_box.size_m / 2, (8, 1)), abs=1e-12
    )
