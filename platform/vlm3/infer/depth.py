"""Metric depth at points of an image: evaluation and serving both call `answer_depth`."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind, convert_depth
from vlm3.infer.predictor import Predictor
from vlm3.infer.spec import trained_on
from vlm3.infer.text_model import Reply, Status, TextRequest
from vlm3.seeds import generator
from vlm3.tasks.depth import DepthTask
from vlm3.tasks.depth_marker import MarkerDepthTask
from vlm3.views.unify import UnifiedView, unify


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
        One answer a point, in order.

    Raises:
        ConfigError: the model was not trained on depth.
        DataError: the image cannot be read or unified.
    """
    focal_px, task = _asked(predictor)
    view = unify(encoded_image, camera, predictor.policy(focal_px))
    unified_px = view.map_points(points_px)
    inside: NDArray[np.bool_] = np.isfinite(unified_px[:, 0])
    if isinstance(task, MarkerDepthTask):
        replies = _ask_marked(predictor, task, item, view, unified_px[inside])
    else:
        replies = _ask_named(predictor, task, item, view, unified_px[inside])
    read = [reply.read(task.read) for reply in replies]
    said_m = np.array([np.nan if metres is None else metres for _, metres in read], np.float64)
    # The unified camera has no distortion and looks along the same rays.
    z_depth_m, ray_depth_m = (
        convert_depth(said_m, unified_px[inside], view.camera, task.depth_kind, target)
        for target in (DepthKind.Z, DepthKind.RAY)
    )
    answers = [DepthAnswer("", "outside", None, None)] * len(inside)
    for place, index in enumerate(np.flatnonzero(inside)):
        status, _ = read[place]
        metres = (float(z_depth_m[place]), float(ray_depth_m[place])) if status == "ok" else (None, None)
        answers[index] = DepthAnswer(replies[place].text, status, *metres)
    return tuple(answers)


def _asked(predictor: Predictor) -> tuple[float, DepthTask | MarkerDepthTask]:
    """Focal length and task; points are named unless the model knows marked ones only."""
    named, marked = predictor.ask.depth, predictor.ask.depth_marker
    if named is None and marked is not None:
        return marked.focal_px, MarkerDepthTask(marked.ask)
    asked = trained_on(named, "depth")
    return asked.focal_px, DepthTask(asked.ask)


def _ask_named(
    predictor: Predictor, task: DepthTask, item: str, view: UnifiedView, points_px: NDArray[np.float64]
) -> list[Reply]:
    """One image, each point named in a question."""
    size_px, focal_px = (view.image.shape[1], view.image.shape[0]), view.camera.fx_px
    questions = tuple(task.question((float(x), float(y)), size_px, focal_px) for x, y in points_px)
    tokens = predictor.tokens(task.answer_tokens)
    return predictor.model.answer(TextRequest(item, (view.image,), questions, task.system, tokens))


def _ask_marked(
    predictor: Predictor, task: MarkerDepthTask, item: str, view: UnifiedView, points_px: NDArray[np.float64]
) -> list[Reply]:
    """An image a point, with an arrow at it."""
    tokens, question = predictor.tokens(task.answer_tokens), (task.question(view.camera.fx_px),)
    replies = []
    for number, (x, y) in enumerate(points_px.tolist()):
        image = task.mark(view.image, (x, y), generator("marked point", item, number))
        replies += predictor.model.answer(TextRequest(item, (image,), question, task.system, tokens))
    return replies
