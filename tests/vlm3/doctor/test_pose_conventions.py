"""Every convention gives back the camera that was stored in its way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vlm3.doctor.pose_conventions import GIVEN, POSE_CONVENTIONS
from vlm3.geometry.rigid import invert, relative

Pose = NDArray[np.float64]
NAMES = [convention.name for convention in POSE_CONVENTIONS]
angles = st.floats(-3.0, 3.0)


@st.composite
def poses(draw: st.DrawFn) -> Pose:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec([draw(angles) for _ in range(3)]).as_matrix()
    pose[:3, 3] = [draw(angles) for _ in range(3)]
    return pose


def convention(word: str):
    (found,) = [convention for convention in POSE_CONVENTIONS if convention.name.startswith(word)]
    return found


def scaled(*diagonal: float) -> Pose:
    return np.diag([*diagonal, 1.0])


STORED = {
    "world_T_cam with": lambda pose: pose,
    "world_T_cam inverted (": invert,
    "OpenGL": lambda pose: pose @ scaled(1, -1, -1),
    "world_T_cam inverted and": lambda pose: np.linalg.inv(pose @ scaled(1, -1, -1)),
    "mirrored left": lambda pose: pose @ scaled(-1, 1, 1),
    "mirrored top": lambda pose: scaled(1, -1, 1) @ pose @ scaled(1, -1, 1),
    "mirrored front": lambda pose: scaled(1, 1, -1) @ pose @ scaled(1, 1, -1),
    "robot": lambda pose: pose @ np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]]),
    "centre of the camera negated": lambda pose: np.block([[pose[:3, :3], -pose[:3, 3:]], [pose[3:]]]),
    "centre of the camera beside": lambda pose: np.block([[pose[:3, :3].T, pose[:3, 3:]], [pose[3:]]]),
    "rotation of the camera": lambda pose: np.block([[pose[:3, :3], invert(pose)[:3, 3:]], [pose[3:]]]),
}


def test_every_reading_is_tried_here() -> None:
    assert {convention(word).name for word in STORED} == set(NAMES)
    assert POSE_CONVENTIONS[0] is GIVEN
    assert all(other.mend for other in POSE_CONVENTIONS[1:])


@pytest.mark.parametrize("word", STORED)
@given(one=poses(), other=poses())
def test_relative_poses_come_back(word: str, one: Pose, other: Pose) -> None:
    read = [convention(word)(STORED[word](pose)) for pose in (one, other)]
    np.testing.assert_allclose(relative(*read), relative(one, other), atol=1e-9)


def test_reading_leaves_what_is_stored_alone() -> None:
    pose = np.eye(4)
    for each in POSE_CONVENTIONS:
        each(pose)
    np.testing.assert_array_equal(pose, np.eye(4))


def test_robot_axes_look_along_x() -> None:
    forward = convention("robot")(np.eye(4))[:3, 2]
    np.testing.assert_array_equal(forward, [1, 0, 0])
