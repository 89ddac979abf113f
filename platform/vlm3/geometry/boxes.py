"""Oriented boxes: their extents, the distance between two, and the direction from one to another."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SIGNS = np.array(list(product((-1.0, 1.0), repeat=3)))
"""(8, 3) corners of a box along its own axes, in units of half its size."""
PARALLEL = 1e-9
"""Sine of the angle below which two edges count as parallel: their cross product is then no further separating axis."""
HOUR_DEG = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class OrientedBox:
    """An oriented box in a coordinate frame."""

    center_m: Array
    """(3,) centre in the frame."""
    size_m: Array
    """(3,) full extents along the box's own axes."""
    axes: Array
    """(3, 3) rotation `frame_R_box`; its columns are the box's axes."""

    @property
    def extents_m(self) -> Array:
        """(3,) full extents along the axes of the frame, i.e. of the axis-aligned box around the 8 corners."""
        extents: Array = np.abs(self.axes) @ self.size_m
        return extents

    @property
    def nearest_z_m(self) -> float:
        """Least z of the box: in a camera's frame, the z-depth of its nearest part."""
        return float(self.center_m[2] - self.extents_m[2] / 2)

    def corners_m(self) -> Array:
        """(8, 3) corners in the frame, in the order of `SIGNS`."""
        corners: Array = self.center_m + (SIGNS * self.size_m / 2) @ self.axes.T
        return corners


def box_distance_m(first: OrientedBox, second: OrientedBox) -> float:
    """Metres between the nearest points of two boxes in the same frame; 0 if they touch or intersect.

    Exact except for rounding, without iteration. The separating axis theorem (Gottschalk et al. 1996: 15 axes) decides
    whether they intersect. Two convex polyhedra that are apart are nearest at a corner of one of them or at an edge of
    each; all these pairs are measured.
    """
    if _intersect(first, second):
        return 0.0
    return min(_corners_apart_m(first, second), _corners_apart_m(second, first), _edges_apart_m(first, second))


def clock_deg(from_m: Array, to_m: Array) -> float:
    """Direction between two points (3,): degrees in [0, 360), clockwise from straight ahead (+z), seen from above.

    Measured in the x–z plane of OpenCV axes: +x, to the right, is 90 degrees. 0 if one point is above the other.
    """
    x, _, z = (to_m - from_m).tolist()
    return float(np.rad2deg(np.arctan2(x, z)) % 360.0) % 360.0


def clock_hour(degrees: float) -> int:
    """Hour on the clock, 1 … 12, nearest to an angle from `clock_deg`."""
    return round(degrees / HOUR_DEG) % 12 or 12


def _intersect(first: OrientedBox, second: OrientedBox) -> bool:
    crosses = np.cross(first.axes.T[:, None], second.axes.T[None]).reshape(9, 3)
    lengths = np.linalg.norm(crosses, axis=1)
    crossing = lengths > PARALLEL
    candidates = np.concatenate([first.axes.T, second.axes.T, crosses[crossing] / lengths[crossing, None]])
    reach_m = sum(np.abs(candidates @ box.axes) @ box.size_m / 2 for box in (first, second))
    apart_m = np.abs(candidates @ (second.center_m - first.center_m))
    return not bool((apart_m > reach_m).any())


def _corners_apart_m(box: OrientedBox, other: OrientedBox) -> float:
    """Least distance in metres from a corner of `box` to `other`."""
    inside = (box.corners_m() - other.center_m) @ other.axes
    beyond = np.maximum(np.abs(inside) - other.size_m / 2, 0)
    return float(np.linalg.norm(beyond, axis=1).min())


def _edges_apart_m(first: OrientedBox, second: OrientedBox) -> float:
    """Least distance in metres between the nearest points of the lines of two edges, clamped to the edges.

    A point clamped to a corner is no nearer than that corner is to the other box, which `_corners_apart_m` measures.
    """
    starts1, along1 = (part[:, None] for part in _edges(first))
    starts2, along2 = (part[None] for part in _edges(second))
    between = starts1 - starts2
    a, b, c = (along1**2).sum(-1), (along1 * along2).sum(-1), (along2**2).sum(-1)
    d, e = (along1 * between).sum(-1), (along2 * between).sum(-1)
    determinant = a * c - b * b
    skew = determinant > PARALLEL**2 * a * c
    divisor = np.where(skew, determinant, 1.0)
    share1 = np.where(skew, (b * e - c * d) / divisor, 0.0).clip(0, 1)
    share2 = np.where(skew, (a * e - b * d) / divisor, 0.0).clip(0, 1)
    gaps = between + share1[..., None] * along1 - share2[..., None] * along2
    return float(np.linalg.norm(gaps, axis=-1).min())


def _edges(box: OrientedBox) -> tuple[Array, Array]:
    """(12, 3) start of each edge, and (12, 3) vector from there to its end."""
    corners_m = box.corners_m()
    starts = np.concatenate([corners_m[SIGNS[:, axis] < 0] for axis in range(3)])
    return starts, np.repeat((box.axes * box.size_m).T, 4, axis=0)
