"""Angles of rotations, against the paper's vector, SciPy and their own inverse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vlm3.geometry.rotation import YawPitchRoll, rotation_angle_deg, rotation_of, yaw_pitch_roll

TURNS = st.floats(-179.9, 179.9)


def test_the_vector_of_the_method() -> None:
    angles = YawPitchRoll(89.60077227, 2.59868437, 6.07232784)
    assert rotation_angle_deg(rotation_of(angles)) == pytest.approx(89.65473457, abs=1e-7)
    assert yaw_pitch_roll(rotation_of(angles)) == pytest.approx(angles, abs=1e-9)


@given(TURNS, st.floats(-89.9, 89.9), TURNS)
def test_angles_come_back_and_agree_with_scipy(yaw: float, pitch: float, roll: float) -> None:
    given_angles = YawPitchRoll(yaw, pitch, roll)
    rotation = rotation_of(given_angles)
    about_y, about_x, about_z = (
        Rotation.from_euler(axis, angle, degrees=True) for axis, angle in zip("yxz", given_angles, strict=True)
    )
    theirs = about_y * about_x * about_z
    assert np.allclose(rotation, theirs.as_matrix(), atol=1e-12)
    assert yaw_pitch_roll(rotation) == pytest.approx(given_angles, abs=1e-6)
    assert yaw_pitch_roll(rotation) == pytest.approx(theirs.as_euler("YXZ", degrees=True), abs=1e-9)
    assert rotation_angle_deg(rotation) == pytest.approx(np.rad2deg(theirs.magnitude()), abs=1e-6)


@pytest.mark.parametrize("angle_deg", [0.0, 1e-6, 0.01, 90.0, 179.99999, 180.0])
def test_the_angle_is_exact_at_both_ends(angle_deg: float) -> None:
    rotation = Rotation.from_rotvec(np.deg2rad(angle_deg) * np.array([0.6, 0.0, 0.8])).as_matrix()
    assert rotation_angle_deg(rotation) == pytest.approx(angle_deg, abs=1e-9)


@pytest.mark.parametrize(
    ("angles", "axis", "sign"),
    [((30, 0, 0), 0, 1), ((0, 30, 0), 1, -1)],
    ids=["yaw turns right", "pitch looks up"],
)
def test_signs_are_those_of_the_convention(angles: tuple[float, float, float], axis: int, sign: int) -> None:
    forward = rotation_of(YawPitchRoll(*angles))[:, 2]
    assert forward[axis] * sign == pytest.approx(0.5)


def test_a_positive_roll_lowers_the_right_side() -> None:
    assert rotation_of(YawPitchRoll(0, 0, 30))[:, 0][1] == pytest.approx(0.5)


@pytest.mark.parametrize("pitch", [90.0, -90.0])
@given(yaw=TURNS, roll=TURNS)
def test_straight_up_and_down_the_angles_give_the_same_rotation(pitch: float, yaw: float, roll: float) -> None:
    rotation = rotation_of(YawPitchRoll(yaw, pitch, roll))
    again = yaw_pitch_roll(rotation)
    assert again.roll_deg == 0.0 or abs(again.pitch_deg) < 90
    assert np.allclose(rotation_of(again), rotation, atol=1e-6)
