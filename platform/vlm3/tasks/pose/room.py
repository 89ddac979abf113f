"""The room of the pose task."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from vlm3.asking.items import Item, PairItem
from vlm3.asking.predictions import Predictions
from vlm3.asking.predictor import Predictor
from vlm3.asking.room import Listing
from vlm3.asking.tables import NOT_ASKED, repeated, texts_of
from vlm3.errors import DataError
from vlm3.geometry.rotation import rotation_angle_deg
from vlm3.scenes.schema import Frame, Scale
from vlm3.tasks.pose.answering import answer_pose
from vlm3.tasks.pose.table import PoseTable
from vlm3.tasks.pose.task import AskedPose, PoseQuestion
from vlm3.tasks.pose.templates import PoseTemplates

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RIGID_ROW = (0.0, 0.0, 0.0, 1.0)


class PoseRoom:
    """How the camera moved between two images."""

    asked = AskedPose
    trained_by_default = False
    templates = PoseTemplates
    table = PoseTable

    def shown(self, item: Item) -> tuple[Frame, ...]:
        """Both images of a pair with a pose."""
        return (item.frame1, item.frame2) if isinstance(item, PairItem) and item.cam1_T_cam2 is not None else ()

    def answer(self, predictor: Predictor, asked: AskedPose, item: Item) -> PoseTable | None:
        """The pose of a pair."""
        if not isinstance(item, PairItem) or item.cam1_T_cam2 is None:
            return None
        answer = answer_pose(
            predictor,
            (item.frame1.encoded_image, item.frame2.encoded_image),
            (item.frame1.camera, item.frame2.camera),
            metric=is_metric(item),
            item=item.id,
        )
        statuses = [answer.statuses.get(kind, NOT_ASKED) for kind in PoseQuestion]
        return PoseTable(
            item=texts_of([item.id]),
            group=texts_of([item.group]),
            text=texts_of([answer.texts.get(kind, "") for kind in PoseQuestion])[None],
            status=texts_of(statuses)[None],
            metric=np.array([is_metric(item)]),
            true_cam1_T_cam2=item.cam1_T_cam2[None],
            predicted_angle_deg=np.array([answer.angle_deg]),
            predicted_cam1_R_cam2=answer.cam1_R_cam2[None],
            predicted_direction=answer.direction[None],
            predicted_distance_m=np.array([answer.distance_m]),
        )

    def predicted(self, predictions: Predictions, item: Item) -> PoseTable | None:
        """Table of a prediction, which is cam1_T_cam2 as 16 numbers, row by row."""
        if not isinstance(item, PairItem) or item.cam1_T_cam2 is None:
            return None
        found = predictions.find(item.id, PoseTable.task)
        cam1_T_cam2 = found.numbers(16, "cam1_T_cam2 as 16 numbers, row by row").reshape(4, 4)
        if np.isfinite(cam1_T_cam2).all() and not np.allclose(cam1_T_cam2[3], RIGID_ROW):
            raise DataError(f"{found.where}: the last row of cam1_T_cam2 is {cam1_T_cam2[3]}, expected 0 0 0 1")
        rotation, moved = cam1_T_cam2[:3, :3], cam1_T_cam2[:3, 3]
        length = float(np.linalg.norm(moved))
        turned, measured = bool(np.isfinite(rotation).all()), bool(np.isfinite(length))
        # A camera that has not moved has a distance, 0, and no direction.
        has_moved = measured and length > 0
        statuses = ["ok" if given else "unreadable" for given in (turned, turned, has_moved, measured)]
        if not is_metric(item):
            statuses[-1] = NOT_ASKED
        return PoseTable(
            item=texts_of([item.id]),
            group=texts_of([item.group]),
            text=repeated("", 4)[None],
            status=texts_of(statuses)[None],
            metric=np.array([is_metric(item)]),
            true_cam1_T_cam2=item.cam1_T_cam2[None],
            predicted_angle_deg=np.array([rotation_angle_deg(rotation) if turned else np.nan]),
            predicted_cam1_R_cam2=(rotation if turned else np.full((3, 3), np.nan))[None],
            predicted_direction=(moved / length if has_moved else np.full(3, np.nan))[None],
            predicted_distance_m=np.array([length if is_metric(item) and measured else np.nan]),
        )

    def listed(self, item: Item) -> Listing | None:
        """Both images."""
        frames = self.shown(item)
        return Listing(tuple(frame.frame for frame in frames)) if frames else None

    def plots(self, table: PoseTable) -> Iterator[tuple[str, "Figure"]]:
        """No pictures."""
        return iter(())

    def overlay(self, item: Item, table: PoseTable) -> "Figure | None":
        """Both cameras from above and from the right."""
        from vlm3.tasks.pose.pictures import camera_pair

        return camera_pair(table, 0)


def is_metric(item: PairItem) -> bool:
    """Whether a pair's lengths are metres."""
    return item.frame1.scale is Scale.METRIC and item.frame2.scale is Scale.METRIC
