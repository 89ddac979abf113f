"""Tables of answers made in a line."""

import numpy as np

from vlm3.asking.tables import Texts
from vlm3.geometry.rotation import YawPitchRoll, rotation_of
from vlm3.tasks.correspondence.table import CorrespondenceTable
from vlm3.tasks.depth.table import DepthTable
from vlm3.tasks.objects.table import ObjectTable
from vlm3.tasks.pose.table import PoseTable


def texts(*values: str) -> Texts:
    return np.array(values, np.object_)


def depth_answers(true_m: list[float], said_m: list[float], groups: list[str] | None = None) -> DepthTable:
    """Depth on the optical axis, where z and ray are the same; NaN is unreadable."""
    count = len(true_m)
    names = groups or [f"image-{n}" for n in range(count)]
    said = np.array(said_m, np.float64)
    return DepthTable(
        item=texts(*names),
        group=texts(*names),
        text=texts(*map(str, said_m)),
        status=np.where(np.isnan(said), "unreadable", "ok").astype(np.object_),
        point_px=np.tile([50.0, 40.0], (count, 1)),
        size_px=np.tile([101.0, 81.0], (count, 1)),
        label_kind=np.full(count, "z", np.object_),
        true_m=np.tile(np.array(true_m)[:, None], (1, 2)),
        predicted_m=np.tile(said[:, None], (1, 2)),
        predicted_interval_m=np.full((count, 3, 2), np.nan),
    )


def correspondence_answers(
    true_px: list[tuple[float, float]], said_px: list[tuple[float, float]]
) -> CorrespondenceTable:
    """Points of images of 200 x 100 px; NaN in the truth is hidden, in the answer it is "not visible"."""
    count = len(true_px)
    names = texts(*(f"pair-{n}" for n in range(count)))
    said = np.array(said_px, np.float64)
    return CorrespondenceTable(
        item=names,
        group=names,
        text=texts(*map(str, said_px)),
        status=np.where(np.isnan(said[:, 0]), "not visible", "ok").astype(np.object_),
        point1_px=np.tile([10.0, 20.0], (count, 1)),
        size1_px=np.tile([100.0, 50.0], (count, 1)),
        true2_px=np.array(true_px, np.float64),
        predicted2_px=said,
        size2_px=np.tile([200.0, 100.0], (count, 1)),
    )


def pose_answers(turns: list[YawPitchRoll], said: list[YawPitchRoll], metric: bool = True) -> PoseTable:
    """Pairs that moved 2 m to the right; direction and distance are answered rightly."""
    count = len(turns)
    names = texts(*(f"pair-{n}" for n in range(count)))
    true = np.tile(np.eye(4), (count, 1, 1))
    true[:, :3, :3], true[:, 0, 3] = [rotation_of(angles) for angles in turns], 2.0
    statuses = ["ok", "ok", "ok", "ok" if metric else "not asked"]
    return PoseTable(
        item=names,
        group=names,
        text=np.full((count, 4), "said", np.object_),
        status=np.array([statuses] * count, np.object_),
        metric=np.full(count, metric),
        true_cam1_T_cam2=true,
        predicted_angle_deg=np.zeros(count),
        predicted_cam1_R_cam2=np.array([rotation_of(angles) for angles in said]),
        predicted_direction=np.tile([1.0, 0.0, 0.0], (count, 1)),
        predicted_distance_m=np.full(count, 2.0 if metric else np.nan),
    )


def object_answers(rows: list[tuple[str, str, float, float]]) -> ObjectTable:
    """(category, family, truth, answer) of each question; NaN is unreadable."""
    names = texts(*(f"image-{n}" for n in range(len(rows))))
    said = np.array([row[3] for row in rows], np.float64)
    return ObjectTable(
        item=names,
        group=names,
        category=texts(*(row[0] for row in rows)),
        family=texts(*(row[1] for row in rows)),
        question=texts(*(f"{row[0]}?" for row in rows)),
        text=texts(*(str(row[3]) for row in rows)),
        status=np.where(np.isnan(said), "unreadable", "ok").astype(np.object_),
        true=np.array([row[2] for row in rows], np.float64),
        predicted=said,
    )
