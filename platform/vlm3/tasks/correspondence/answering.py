"""Where points of image 1 are in image 2: `answer_correspondence` asks, and returns pixels of the original image 2."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vlm3.asking.predictor import Predictor
from vlm3.asking.references import coordinate
from vlm3.asking.text_model import Reply, Status, TextRequest
from vlm3.geometry.camera import Camera
from vlm3.tasks.correspondence.task import AskedCorrespondence, CorrespondenceTask
from vlm3.views.unify import UnifiedView, unify


@dataclass(frozen=True, slots=True)
class CorrespondenceAnswer:
    """The place in image 2 of a point of image 1."""

    text: str
    """The model's own words; empty for a point outside."""
    status: Status | Literal["not visible", "outside"]
    """`outside`: the point is not in image 1, or no ray of its camera leads there."""
    point2_px: tuple[float, float] | None
    """Pixel of the original image 2; it may lie beyond its border. None where the answer names none."""


def answer_correspondence(
    predictor: Predictor,
    images: tuple[bytes, bytes],
    cameras: tuple[Camera, Camera],
    points1_px: NDArray[np.floating],
    item: str = "pair",
) -> tuple[CorrespondenceAnswer, ...]:
    """Places in image 2 of points of image 1.

    Args:
        predictor: the model.
        images: JPEG or PNG bytes of both, not turned by EXIF (`vlm3.storage.images.upright` turns pixels).
        cameras: their intrinsics, with any distortion.
        points1_px: (N, 2) pixels of the original image 1.
        item: name of the pair, for messages.

    Returns:
        One answer for each point, in order.

    Raises:
        ConfigError: the model was not trained on correspondence.
        DataError: an image cannot be read or unified.
    """
    asked = predictor.ask.needed(AskedCorrespondence)
    task = CorrespondenceTask(asked.ask)
    policy = predictor.policy(asked.focal_px)
    view1, view2 = (unify(image, camera, policy) for image, camera in zip(images, cameras, strict=True))
    unified_px = view1.map_points(points1_px)
    inside: NDArray[np.bool_] = np.isfinite(unified_px[:, 0])
    size_px = (view1.image.shape[1], view1.image.shape[0])
    questions = tuple(task.question((float(x), float(y)), size_px) for x, y in unified_px[inside])
    tokens = predictor.tokens(task.answer_tokens)
    replies = predictor.model.answer(TextRequest(item, (view1.image, view2.image), questions, task.system, tokens))
    answers = [CorrespondenceAnswer("", "outside", None)] * len(inside)
    for index, reply in zip(np.flatnonzero(inside), replies, strict=True):
        answers[index] = _read(task, reply, view2)
    return tuple(answers)


def _read(task: CorrespondenceTask, reply: Reply, view2: UnifiedView) -> CorrespondenceAnswer:
    status, place = reply.read(task.read)
    if place is None:
        return CorrespondenceAnswer(reply.text, "not visible" if status == "ok" else status, None)
    n = task.config.reference_range
    sizes_px = (view2.image.shape[1], view2.image.shape[0])
    unified_px = np.array([[coordinate(name, size, n) for name, size in zip(place, sizes_px, strict=True)]])
    # Not cut to the image: the error of a place in the padding can be measured in pixels too.
    u, v = view2.source_camera.project(view2.camera.unproject(unified_px))[0].tolist()
    return CorrespondenceAnswer(reply.text, "ok", (u, v))
