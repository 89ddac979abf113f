"""How a trained model must be asked: focal length and wording of each task that it knows."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import Field

from vlm3.asking.focals import MetricTask
from vlm3.asking.protocol import AnyTask
from vlm3.config import StrictModel
from vlm3.errors import ConfigError

FILE = "vlm3.json"
"""Name of the file with the spec, beside a model's weights."""
Focal = Annotated[float, Field(gt=0)]
AskedT = TypeVar("AskedT", bound="Asked")


class Asked(StrictModel):
    """How questions of one task are asked, and about which images."""

    task: ClassVar[str]
    """Name of the task."""
    focal_px: Focal = 1000.0
    """Focal length to which every image is unified."""
    ask: Any
    """The task's own configuration, which has a field `templates`."""

    def build(self) -> AnyTask:
        """The task with this configuration."""
        raise NotImplementedError

    def metres(self) -> MetricTask | None:
        """How the task asks for metres; None where it does not."""
        return None


@dataclass(frozen=True, slots=True)
class AskSpec:
    """Unification and wordings that a model was trained with; asking in another way gives wrong answers."""

    parts: tuple[Asked, ...] = ()
    """One part for each task that the model was trained on."""
    answer_tokens: int | None = None
    """Most tokens of an answer, for models that write more than the template set does; default: what the longest answer
    of the template set takes (`vlm3.asking.templates.TemplateSet.answer_tokens`)."""

    def part(self, kind: type[AskedT]) -> AskedT | None:
        """How the questions of a task are asked; None where the model was not trained on it."""
        return next((part for part in self.parts if isinstance(part, kind)), None)

    def needed(self, kind: type[AskedT]) -> AskedT:
        """How the questions of a task are asked.

        Raises:
            ConfigError: the model was not trained on it.
        """
        part = self.part(kind)
        if part is None:
            raise ConfigError(
                f"the model was not trained on {kind.task} questions: its {FILE} does not say how to ask them"
            )
        return part
