"""Metric depth at points of an image: evaluation and serving both call `answer_depth`."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vlm3.asking.calibration import Calibration
from vlm3.asking.number_form import Spread
from vlm3.asking.predictor import Predictor
from vlm3.asking.text_model import Status, TextRequest
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind, convert_depth
from vlm3.tasks.depth.point_depth import AskedPointDepth
from vlm3.views.unify import unify


@dataclass(frozen=True, slots=True)
class DepthSpread:
    """The depths that the model may have answered for a point."""

    asked: Spread
    """In the kind of depth that it is asked for."""
    z_per_m: float
    """Depth along the optical axis for each metre of that kind."""
    ray_per_m: float

    def intervals_m(self, calibration: Calibration, level: float) -> NDArray[np.float64] | None:
        """(2, 2) lower and upper end, of z and of ray; None where the model named no number."""
        interval = calibration.interval_m(self.asked, level)
        return None if interval is None else np.outer((self.z_per_m, self.ray_per_m), interval)


@dataclass(frozen=True, slots=True)
class DepthAnswer:
    """Depth of a point of the original image."""

    text: str
    """The model's own words; empty for a point outside."""
    status: Status | Literal["outside"]
    """`outside`: the point is not in the image, or no ray of the camera leads there."""
    z_depth_m: float | None
    ray_depth_m: float | None
    spread: DepthSpread | None = None
    """Where it was wanted, and the model tells."""


def answer_depth(
    predictor: Predictor,
    encoded_image: bytes,
    camera: Camera,
    points_px: NDArray[np.floating],
    item: str = "image",
    *,
    spreads: bool = False,
) -> tuple[DepthAnswer, ...]:
    """Depth at points of an original image, in metres.

    Args:
        predictor: the model.
        encoded_image: JPEG or PNG bytes, not turned by EXIF (`vlm3.storage.images.upright` turns pixels).
        camera: its intrinsics, with any distortion.
        points_px: (N, 2) pixels (u, v) of the original image.
        item: name of the image, for messages.
        spreads: whether to find the numbers that the model may have answered, where it tells.

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
    tokens, form = predictor.tokens(task.answer_tokens), task.number_form if spreads else None
    replies = [
        reply
        for prompt in task.prompts(view, unified_px[inside], item)
        for reply in predictor.model.answer(
            TextRequest(item, (prompt.image,), prompt.questions, task.system, tokens, form)
        )
    ]
    read = [reply.read(task.read) for reply in replies]
    # Converted by the unified camera: it has the same rays, and no distortion.
    one = np.ones(len(replies))
    z_per_m, ray_per_m = (
        convert_depth(one, unified_px[inside], view.camera, task.depth_kind, target)
        for target in (DepthKind.Z, DepthKind.RAY)
    )
    answers = [DepthAnswer("", "outside", None, None)] * len(inside)
    for place, index in enumerate(np.flatnonzero(inside)):
        (status, metres), reply = read[place], replies[place]
        z, ray = float(z_per_m[place]), float(ray_per_m[place])
        z_m, ray_m = (None, None) if metres is None else (metres * z, metres * ray)
        spread = None if reply.spread is None else DepthSpread(reply.spread, z, ray)
        answers[index] = DepthAnswer(reply.text, status, z_m, ray_m, spread)
    return tuple(answers)
