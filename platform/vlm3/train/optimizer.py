"""AdamW and its learning rate schedule, as configured in a recipe."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from vlm3.config import StrictModel
from vlm3.errors import ConfigError
from vlm3.train.schedule import learning_rate

if TYPE_CHECKING:
    import torch

Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimizerConfig(StrictModel):
    """AdamW; the defaults are those of VLM3's depth training (arXiv 2605.30561)."""

    learning_rate: Annotated[float, Field(gt=0)] = 5.5e-5
    """Peak rate, reached at the end of the warm-up."""
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    gradient_clip: Annotated[float, Field(ge=0)] = 0.02
    """Largest global L2 norm of the gradient; 0 switches clipping off. Models trained from scratch want about 1."""
    warmup_share: Share = 0.1
    """Share of all steps during which the rate rises linearly."""
    floor_share: Share = 0.0
    """Rate at the end of the cosine, as a share of the peak."""

    def learning_rate_at(self, step: int, total_steps: int) -> float:
        """Learning rate of step `step` (from 0) of `total_steps`."""
        return learning_rate(step, total_steps, self.learning_rate, self.warmup_share, self.floor_share)

    def build(self, parameters: Iterable["torch.nn.Parameter"]) -> "torch.optim.AdamW":
        """AdamW over the parameters that are trained.

        Raises:
            ConfigError: every parameter is frozen.
        """
        # Imported here, because many programs read recipes without needing torch.
        import torch

        trained = [parameter for parameter in parameters if parameter.requires_grad]
        if not trained:
            raise ConfigError("model.freeze freezes every parameter: leave at least one part of the model trainable")
        return torch.optim.AdamW(
            trained, lr=self.learning_rate, betas=self.betas, eps=self.epsilon, weight_decay=self.weight_decay
        )
