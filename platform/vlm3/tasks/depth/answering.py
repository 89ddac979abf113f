"""Metric depth at points of an image: evaluation and serving both call `answer_depth`."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vlm3.asking.predictor import Predictor
from vlm3.asking.text_model import Status, TextRequest
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind, convert_depth
from vlm3.tasks.depth.point_depth import AskedPointDepth
from vlm3.views.unify import unify


@dataclass(frozen=True, slots=True)
class DepthAnswer:
    """Depth of a point of the original image."""

    text: str
    """The model's own words; empty for a point outside."""
    status: Status | Literal["outside"]
    """`outside`: the point is not in the image, or no ray of the camera leads there."""
    z_depth_m: float | None
    ray_depth_m: float | None


def answer_depth(
    predictor: Predictor, encoded_image: bytes, camera: Camera, points_px: NDArray[np.floating], item: str = "image"
) -> tuple[DepthAnswer, ...]:
    """Depth at points of an original image, in metres.

    Args:
        predictor: the model.
        encoded_image: JPEG or PNG bytes, not turned by EXIF (`vlm3.storage.images.upright` turns pixels).
        camera: its intrinsics, with any distortion.
        points_px: (N, 2) pixels (u, v) of the original image.
        item: name of the image, for messages.

    Returns:
        One answer for each point, in order.

    Raises:
        ConfigError: the model was not trained on depth.
        DataError: the image cannot be read or unified.
    """
    asked = predictor.ask.needed(AskedPointDepth)
    task = asked.build()
    view = unify(encoded_image, camera, predictor.policy(asked.focal_px))
    unified_px = view.map_points(points_px)
    inside: NDArray[np.bool_] = np.isfinite(unified_px[:, 0])
    tokens = predictor.tokens(task.answer_tokens)
    replies = [
        reply
        for prompt in task.prompts(view, unified_px[inside], item)
        for reply in predictor.model.answer(TextRequest(item, (prompt.image,), prompt.questions, task.system, tokens))
    ]
    read = [reply.read(task.read) for reply in replies]
    answered_m = np.array([np.nan if metres is None else metres for _, metres in read], np.float64)
    # Converted by the unified camera: it has the same rays, and no distortion.
    z_depth_m, ray_depth_m = (
        convert_depth(answered_m, unified_px[inside], view.camera, task.depth_kind, target)
        for target in (DepthKind.Z, DepthKind.RAY)
    )
    answers = [DepthAnswer("", "outside", None, None)] * len(inside)
    for place, index in enumerate(np.flatnonzero(inside)):
        status, _ = read[place]
        metres = (float(z_depth_m[place]), float(ray_depth_m[place])) if status == "ok" else (None, None)
        answers[index] = DepthAnswer(replies[place].text, status, *metres)
    return tuple(answers)
