"""A model with all it needs to be asked about original images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vlm3.infer.spec import AskSpec
from vlm3.infer.text_model import ImageBounds, TextModel
from vlm3.views.unify import UnifyPolicy


@dataclass(frozen=True, slots=True, eq=False)
class Predictor:
    """A model, and how it wants to be asked."""

    model: TextModel
    ask: AskSpec

    @classmethod
    def load(cls, model_dir: Path, device: str) -> Self:
        """A predictor from an exported directory.

        Raises:
            ConfigError: the directory is not one that this platform exported, or there is no such device.
        """
        # torch, which takes seconds: a model behind an endpoint does without.
        from vlm3.infer.local_model import LocalModel

        ask = AskSpec.read(model_dir)
        return cls(LocalModel.load(model_dir, device), ask)

    def policy(self, focal_px: float) -> UnifyPolicy:
        """How images are unified before they are asked about: padded, so that no point is lost."""
        return padded(focal_px, self.model.bounds)

    def tokens(self, longest_answer: int) -> int:
        """Bound on an answer: what the user set, or the tokens of the longest one of a task's template set."""
        return self.ask.answer_tokens or longest_answer


def padded(focal_px: float, bounds: ImageBounds) -> UnifyPolicy:
    """How images are unified for a model that takes images of these bounds, no point of them being lost."""
    return UnifyPolicy(
        focal_px=focal_px,
        token_px=bounds.token_px,
        min_pixels=bounds.min_pixels,
        max_pixels=bounds.max_pixels,
    )
