"""Metric depth at points of an image: evaluation and serving both call `answer_depth`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from vlm3.errors import ConfigError
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind, convert_depth
from vlm3.infer.decode import greedy
from vlm3.infer.spec import AskSpec
from vlm3.models.load import ModelConfig, load_model
from vlm3.tasks.depth import DepthTask
from vlm3.tasks.protocol import ParseFailure
from vlm3.tokens.encode import ConversationEncoder
from vlm3.tokens.vision import VisionSpec
from vlm3.views.unify import GridPolicy, UnifiedView, UnifyPolicy, unify

MAX_ANSWER_TOKENS = 16
"""A length takes at most ten: five digits, point, two digits, unit, end."""


@dataclass(frozen=True, slots=True)
class PointAnswer:
    """What the model said about a point of the unified image."""

    text: str
    status: Literal["ok", "unreadable"]
    depth_m: float | None
    """Metres of the kind the model was trained on; None when unreadable."""


@dataclass(frozen=True, slots=True)
class DepthAnswer:
    """Depth of a point of the original image."""

    text: str
    """The model's own words; empty for a point outside."""
    status: Literal["ok", "unreadable", "outside"]
    """`outside`: the point is not in the image, or no ray of the camera leads there."""
    z_depth_m: float | None
    ray_depth_m: float | None


@dataclass(frozen=True, slots=True, eq=False)
class DepthPredictor:
    """A model with all it needs to be asked about depth."""

    model: Any
    encoder: ConversationEncoder
    vision: VisionSpec
    task: DepthTask
    ask: AskSpec

    @classmethod
    def load(cls, model_dir: Path, device: str) -> Self:
        """A predictor from an exported directory: bf16 on a GPU, fp32 on a CPU.

        Raises:
            ConfigError: the directory is not one that this platform exported, or there is no such device.
        """
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ConfigError(f"device {device!r}: this machine has no usable GPU; use device 'cpu'")
        ask = AskSpec.read(model_dir)
        config = ModelConfig(id=str(model_dir), dtype="bfloat16" if device.startswith("cuda") else "float32")
        return cls(
            model=load_model(model_dir, config).to(device).eval(),
            encoder=ConversationEncoder.from_directory(model_dir),
            vision=VisionSpec.from_directory(model_dir),
            task=DepthTask(ask.depth),
            ask=ask,
        )

    @property
    def policy(self) -> UnifyPolicy:
        """How images are unified before they are asked about: padded, so that no point is lost."""
        return UnifyPolicy(
            focal_px=self.ask.focal_px,
            grid=GridPolicy.PAD,
            token_px=self.vision.token_px,
            min_pixels=self.vision.min_pixels,
            max_pixels=self.vision.max_pixels,
        )

    def predict(self, view: UnifiedView, points_px: NDArray[np.floating]) -> tuple[PointAnswer, ...]:
        """Answers for (N, 2) points of a unified image, each asked on its own."""
        height_px, width_px = view.image.shape[:2]
        size, focal_px = (width_px, height_px), view.camera.fx_px
        questions = [self.task.question((float(x), float(y)), size, focal_px) for x, y in points_px]
        texts = greedy(
            self.model,
            self.encoder,
            self.vision,
            view.image,
            questions,
            max_new_tokens=MAX_ANSWER_TOKENS,
            system=self.task.system,
        )
        return tuple(self._read(text) for text in texts)

    def _read(self, text: str) -> PointAnswer:
        try:
            return PointAnswer(text, "ok", self.task.read(text))
        except ParseFailure:
            return PointAnswer(text, "unreadable", None)


def answer_depth(
    predictor: DepthPredictor, encoded_image: bytes, camera: Camera, points_px: NDArray[np.floating]
) -> tuple[DepthAnswer, ...]:
    """Depth at points of an original image, in metres.

    Args:
        predictor: the model.
        encoded_image: JPEG or PNG bytes.
        camera: its intrinsics, with any distortion.
        points_px: (N, 2) pixels (u, v) of the original image.

    Returns:
        One answer a point, in order.

    Raises:
        DataError: the image cannot be read or unified.
    """
    view = unify(encoded_image, camera, predictor.policy)
    unified_px = view.map_points(points_px)
    inside: NDArray[np.bool_] = np.isfinite(unified_px[:, 0])
    found = predictor.predict(view, unified_px[inside])
    kind = predictor.ask.depth.depth_kind
    said_m = np.array([np.nan if answer.depth_m is None else answer.depth_m for answer in found], np.float64)
    # The unified camera has no distortion and looks along the same rays.
    z_depth_m, ray_depth_m = (
        convert_depth(said_m, unified_px[inside], view.camera, kind, target) for target in (DepthKind.Z, DepthKind.RAY)
    )
    answers = [DepthAnswer("", "outside", None, None)] * len(inside)
    for index, answer, z, ray in zip(np.flatnonzero(inside), found, z_depth_m, ray_depth_m, strict=True):
        readable = answer.status == "ok"
        answers[index] = DepthAnswer(
            answer.text, answer.status, float(z) if readable else None, float(ray) if readable else None
        )
    return tuple(answers)
