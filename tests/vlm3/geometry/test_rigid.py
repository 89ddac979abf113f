"""Rigid transforms: inverses, composition, and the check that refuses what is not one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vlm3.geometry.rigid import check_rigid, invert, orthonormalize, relative, transform

Array = NDArray[np.float64]
angles = st.floats(-np.pi, np.pi)
metres = st.floats(-1e4, 1e4)


def pose(rotation_vector: tuple[float, float, float], translation_m: tuple[float, float, float]) -> Array:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(rotation_vector).as_matrix()
    matrix[:3, 3] = translation_m
    return matrix


poses = st.builds(pose, st.tuples(angles, angles, angles), st.tuples(metres, metres, metres))


@given(poses)
def test_a_transform_times_its_inverse_is_the_identity(dst_T_src: Array) -> None:
    np.testing.assert_allclose(invert(dst_T_src) @ dst_T_src, np.eye(4), atol=1e-9)
    np.testing.assert_allclose(invert(dst_T_src), np.linalg.inv(dst_T_src), atol=1e-7)


@given(poses, poses)
def test_the_relative_pose_takes_points_through_the_world(world_T_cam1: Array, world_T_cam2: Array) -> None:
    points_cam2 = np.array([[0.0, 0, 0], [1, 2, 3], [-4, 0.5, 10]])
    through_world = transform(invert(world_T_cam1), transform(world_T_cam2, points_cam2))
    direct = transform(relative(world_T_cam1, world_T_cam2), points_cam2)
    np.testing.assert_allclose(direct, through_world, atol=1e-8)


@given(poses, poses)
def test_the_relative_pose_is_the_rotation_and_the_offset_of_the_centres(first: Array, second: Array) -> None:
    cam1_T_cam2 = relative(first, second)
    np.testing.assert_allclose(cam1_T_cam2[:3, :3], first[:3, :3].T @ second[:3, :3], atol=1e-12)
    np.testing.assert_allclose(cam1_T_cam2[:3, 3], first[:3, :3].T @ (second[:3, 3] - first[:3, 3]), atol=1e-8)


@given(poses)
def test_transforming_keeps_distances(dst_T_src: Array) -> None:
    moved = transform(dst_T_src, np.array([[1.0, 2, 3], [4, 6, 3]]))
    assert np.linalg.norm(moved[1] - moved[0]) == pytest.approx(5.0, abs=1e-8)


@given(poses)
def test_rigid_transforms_pass_the_check_also_when_rounded(dst_T_src: Array) -> None:
    assert check_rigid(dst_T_src) is None
    assert check_rigid(np.round(dst_T_src, 5)) is None


@given(poses)
def test_orthonormalizing_undoes_rounding_and_leaves_the_translation(dst_T_src: Array) -> None:
    mended = orthonormalize(np.round(dst_T_src, 5))
    assert check_rigid(mended, tolerance=1e-12) is None
    np.testing.assert_allclose(mended[:3, :3], dst_T_src[:3, :3], atol=3e-5)
    np.testing.assert_array_equal(mended[:, 3], np.round(dst_T_src, 5)[:, 3])


def test_points_of_single_precision_are_moved_in_double() -> None:
    moved = transform(pose((0, 0, 0), (1e4, 0, 0)), np.array([[1e-4, 0, 0]], np.float32))
    assert moved.dtype == np.float64
    assert moved[0, 0] - 1e4 == pytest.approx(1e-4, rel=1e-3)


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (np.eye(3), "shape (3, 3)"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.diag([1.0, 1, 1, 2]), "last row"),
        (np.diag([1.02, 1, 1, 1]), "0.0404"),
        (np.zeros((4, 4)) + np.diag([0, 0, 0, 1.0]), "differs from the identity by 1"),
        (np.diag([1.0, 1, -1, 1]), "mirrors"),
    ],
    ids=["3x3", "nan", "homogeneous", "scaled", "singular", "mirrored"],
)
def test_what_is_not_rigid_is_refused_with_its_reason(matrix: Array, reason: str) -> None:
    assert reason in str(check_rigid(matrix))


def test_an_infinite_translation_is_refused() -> None:
    assert "infinity" in str(check_rigid(pose((0, 0, 0), (np.inf, 0, 0))))
