"""A model together with all that is needed to ask it about original images."""

from dataclasses import dataclass

from vlm3.asking.calibration import Calibration
from vlm3.asking.spec import AskSpec
from vlm3.asking.text_model import ImageBounds, TextModel
from vlm3.views.unify import UnifyPolicy


@dataclass(frozen=True, slots=True, eq=False)
class Predictor:
    """A model, and how it must be asked."""

    model: TextModel
    ask: AskSpec
    calibration: Calibration | None = None
    """Of its intervals about depth; None where they are not known."""

    def policy(self, focal_px: float) -> UnifyPolicy:
        """How images are unified before they are asked about."""
        return unify_policy(focal_px, self.model.bounds)

    def tokens(self, longest_answer: int) -> int:
        """Most tokens of an answer: what the user set, or else `longest_answer`, which a task's template set needs."""
        return self.ask.answer_tokens or longest_answer


def unify_policy(focal_px: float, bounds: ImageBounds) -> UnifyPolicy:
    """How images are unified for a model that takes images of these bounds."""
    return UnifyPolicy(focal_px, bounds.token_px, bounds.min_pixels, bounds.max_pixels)
