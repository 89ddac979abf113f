"""Angles of a rotation between cameras: OpenCV axes, X right, Y down, Z forward.

`R = Ry(yaw) · Rx(pitch) · Rz(roll)`, right-handed: yaw > 0 turns right, pitch > 0 looks up, roll > 0 banks right
(VLM3, arXiv 2605.30561, pose).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# SciPy's `Rotation` gives the same angles for a matrix, as the tests show. But it takes about twenty times as long, for
# every training sample about a pose, and treats poses within 1e-7 of straight up as straight up.
Array = NDArray[np.float64]
UPRIGHT = 1e-9
"""Below this cosine of the pitch, yaw and roll turn about the same axis."""


class YawPitchRoll(NamedTuple):
    """Angles of a rotation, in degrees."""

    yaw_deg: float
    """In (−180, 180]."""
    pitch_deg: float
    """In [−90, 90]."""
    roll_deg: float
    """In (−180, 180]."""


def rotation_angle_deg(rotation: Array) -> float:
    """Angle in [0, 180] degrees by which a rotation (3, 3) turns about its axis."""
    skew = rotation - rotation.T
    # From sine and cosine: exact near 0 and 180 degrees, where the trace alone loses half of the digits.
    sine = np.sqrt(skew[2, 1] ** 2 + skew[0, 2] ** 2 + skew[1, 0] ** 2)
    return float(np.rad2deg(np.arctan2(sine, np.trace(rotation) - 1)))


def yaw_pitch_roll(rotation: Array) -> YawPitchRoll:
    """Angles of a rotation (3, 3); looking straight up or down, roll is 0 and yaw is the whole turn."""
    if np.hypot(rotation[0, 2], rotation[2, 2]) < UPRIGHT:
        yaw, roll = np.arctan2(-rotation[2, 0], rotation[0, 0]), 0.0
    else:
        yaw = np.arctan2(rotation[0, 2], rotation[2, 2])
        roll = np.arctan2(rotation[1, 0], rotation[1, 1])
    pitch = np.arcsin(np.clip(-rotation[1, 2], -1, 1))
    return YawPitchRoll(*(float(np.rad2deg(angle)) for angle in (yaw, pitch, roll)))


def rotation_of(angles: YawPitchRoll) -> Array:
    """Rotation matrix (3, 3) of these angles."""
    from scipy.spatial.transform import Rotation

    rotation: Array = Rotation.from_euler("YXZ", angles, degrees=True).as_matrix()
    return rotation
