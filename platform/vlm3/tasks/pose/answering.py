"""How the camera moved between two images: `answer_pose` asks up to four questions and returns numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from vlm3.asking.predictor import Predictor
from vlm3.asking.text_model import Status, TextRequest
from vlm3.geometry.camera import Camera
from vlm3.geometry.rotation import YawPitchRoll, rotation_of
from vlm3.tasks.pose.parsing import Direction
from vlm3.tasks.pose.task import AskedPose, PoseQuestion, PoseTask
from vlm3.views.unify import unify


@dataclass(frozen=True, slots=True, eq=False)
class PoseAnswer:
    """The pose of camera 2 in the frame of camera 1, as far as it was asked about and could be read."""

    texts: Mapping[PoseQuestion, str]
    """The model's own words in answer to each question that was asked."""
    statuses: Mapping[PoseQuestion, Status]
    """Status of each question that was asked."""
    angle_deg: float
    """NaN, here and below, where not asked or unreadable."""
    cam1_R_cam2: NDArray[np.float64]
    """(3, 3) from yaw, pitch and roll."""
    direction: NDArray[np.float64]
    """(3,) unit vector from camera 1 to camera 2 in the axes of camera 1."""
    distance_m: float

    @property
    def unreadable(self) -> frozenset[PoseQuestion]:
        """Questions that were asked and have no value, whatever the reason."""
        return frozenset(kind for kind, status in self.statuses.items() if status != "ok")


def answer_pose(
    predictor: Predictor,
    images: tuple[bytes, bytes],
    cameras: tuple[Camera, Camera],
    *,
    metric: bool,
    item: str = "pair",
) -> PoseAnswer:
    """The pose between two images.

    Args:
        predictor: the model.
        images: JPEG or PNG bytes of both, not turned by EXIF (`vlm3.storage.images.upright` turns pixels).
        cameras: their intrinsics, with any distortion.
        metric: whether to ask for the distance in metres.
        item: name of the pair, for messages.

    Raises:
        ConfigError: the model was not trained on poses.
        DataError: an image cannot be read or unified.
    """
    asked = predictor.ask.needed(AskedPose)
    task = PoseTask(asked.ask)
    policy = predictor.policy(asked.focal_px)
    views = tuple(unify(image, camera, policy).image for image, camera in zip(images, cameras, strict=True))
    kinds = [kind for kind in asked.ask.questions if metric or kind is not PoseQuestion.DISTANCE]
    questions = tuple(task.question(kind, asked.focal_px) for kind in kinds)
    tokens = predictor.tokens(task.answer_tokens)
    replies = predictor.model.answer(TextRequest(item, views, questions, task.system, tokens))
    read = {kind: reply.read(partial(task.read, kind)) for kind, reply in zip(kinds, replies, strict=True)}
    values = {kind: value for kind, (_, value) in read.items()}
    turns, moved = values.get(PoseQuestion.TURNS), values.get(PoseQuestion.DIRECTION)
    angle_deg, distance_m = values.get(PoseQuestion.ANGLE), values.get(PoseQuestion.DISTANCE)
    return PoseAnswer(
        texts={kind: reply.text for kind, reply in zip(kinds, replies, strict=True)},
        statuses={kind: status for kind, (status, _) in read.items()},
        angle_deg=angle_deg if isinstance(angle_deg, float) else np.nan,
        cam1_R_cam2=rotation_of(turns) if isinstance(turns, YawPitchRoll) else np.full((3, 3), np.nan),
        direction=np.array(moved.vector) if isinstance(moved, Direction) else np.full(3, np.nan),
        distance_m=distance_m if isinstance(distance_m, float) else np.nan,
    )
