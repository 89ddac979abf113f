"""Rigid transforms as (4, 4) matrices named `dst_T_src`: p_dst = dst_T_src · p_src."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def transform(dst_T_src: Array, points: NDArray[np.floating]) -> Array:
    """Transform points (N, 3) from frame `src` to frame `dst`."""
    moved: Array = points @ dst_T_src[:3, :3].T + dst_T_src[:3, 3]
    return moved


def invert(dst_T_src: Array) -> Array:
    """The inverse transform src_T_dst, computed with the transpose of the rotation."""
    rotation = dst_T_src[:3, :3].T
    src_T_dst = np.eye(4)
    src_T_dst[:3, :3] = rotation
    src_T_dst[:3, 3] = -rotation @ dst_T_src[:3, 3]
    return src_T_dst


def relative(world_T_cam1: Array, world_T_cam2: Array) -> Array:
    """cam1_T_cam2: the pose of camera 2 in the frame of camera 1 (R = R1ᵀ·R2, t = R1ᵀ·(C2 − C1))."""
    pose: Array = invert(world_T_cam1) @ world_T_cam2
    return pose


def check_rigid(dst_T_src: NDArray[np.floating], tolerance: float = 1e-3) -> str | None:
    """None if the matrix is a rigid transform within `tolerance`, else the reason why not."""
    matrix = np.asarray(dst_T_src, np.float64)
    if matrix.shape != (4, 4):
        return f"expected a 4x4 matrix, found shape {matrix.shape}"
    if not np.isfinite(matrix).all():
        return "it holds NaN or infinity"
    if np.abs(matrix[3] - (0, 0, 0, 1)).max() > tolerance:
        return f"its last row is {matrix[3].tolist()}, expected 0 0 0 1"
    rotation = matrix[:3, :3]
    error = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if error > tolerance:
        return f"R·Rᵀ differs from the identity by {error:.3g}, at most {tolerance:g} is rounding"
    determinant = float(np.linalg.det(rotation))
    if determinant < 0:
        return f"the determinant of R is {determinant:.3f}: it mirrors (a left-handed frame)"
    return None


def orthonormalize(dst_T_src: NDArray[np.floating]) -> Array:
    """The nearest rigid transform to a matrix that was rounded when it was written.

    R = U·Vᵀ of its singular value decomposition is the nearest rotation in the Frobenius norm (Schönemann 1966).
    The matrix must have passed `check_rigid`: a reflection or a scale is not corrected here.
    """
    # Not SciPy's `Rotation`: its last digits differ, so the same data would give other shards.
    rigid = np.eye(4)
    u, _, vt = np.linalg.svd(np.asarray(dst_T_src, np.float64)[:3, :3])
    rigid[:3, :3] = u @ vt
    rigid[:3, 3] = dst_T_src[:3, 3]
    return rigid
