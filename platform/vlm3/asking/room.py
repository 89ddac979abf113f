"""What the platform asks of a task. `vlm3.tasks.TASKS` lists those that there are; nothing else knows them by name."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from vlm3.asking.items import Item
from vlm3.asking.predictions import Predictions
from vlm3.asking.predictor import Predictor
from vlm3.asking.spec import Asked
from vlm3.asking.tables import AnswerTable
from vlm3.asking.templates import TaskTemplates
from vlm3.scenes.schema import Frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Listing:
    """What a benchmark asks about an item, for whoever answers it elsewhere."""

    images: tuple[str, ...]
    """Names of the frames."""
    points_px: tuple[float, ...] | None = None
    """x, y of each point in the original (first) image."""
    kind: str | None = None
    """Of depth labels."""
    questions: tuple[str, ...] | None = None
    regions_px: tuple[tuple[float, ...], ...] | None = None
    """x0, y0, x1, y1 of the regions of each question."""


class TaskRoom(Protocol):
    """A task: how it is asked, answered, scored and pictured. Rooms that share a table are scored as one task."""

    @property
    def asked(self) -> type[Asked]:
        """What a recipe and an export say of it; bears its name."""
        ...

    @property
    def trained_by_default(self) -> bool:
        """Whether a recipe that does not speak of tasks trains it."""
        ...

    @property
    def templates(self) -> type[TaskTemplates] | None:
        """Its part of a template set, under its name; None where it uses another task's."""
        ...

    @property
    def table(self) -> type[AnswerTable]:
        """Of its answers."""
        ...

    def shown(self, item: Item) -> tuple[Frame, ...]:
        """The images that are asked about; none where the task asks nothing about the item."""
        ...

    def answer(self, predictor: Predictor, asked: Any, item: Item) -> AnswerTable | None:
        """Ask a model everything about an item; None where there is nothing to ask.

        Args:
            predictor: the model.
            asked: what its spec says of the task: an instance of `asked`.
            item: of a benchmark, with `shown`.

        Raises:
            DataError: an image cannot be read or unified.
        """
        ...

    def predicted(self, predictions: Predictions, item: Item) -> AnswerTable | None:
        """Answers that were made elsewhere.

        Raises:
            DataError: the prediction for the item is missing or impossible.
        """
        ...

    def listed(self, item: Item) -> Listing | None:
        """What `predicted` wants to know about an item."""
        ...

    def plots(self, table: Any) -> Iterator[tuple[str, "Figure"]]:
        """Pictures of all answers to a benchmark, by name."""
        ...

    def overlay(self, item: Item, table: Any) -> "Figure | None":
        """A picture of an item with its answers."""
        ...


class LoopRoom(TaskRoom, Protocol):
    """A task that held-out frames are asked about while training goes on."""

    def held_out_item(self, name: str, frame: Frame, points: int, seed: int) -> Item:
        """What is asked about a frame: the same questions each time.

        Args:
            name: of the frame among all sources.
            frame: of the held-out split, with labelled points.
            points: most labels to ask about.
            seed: of their choice.
        """
        ...

    def outside(self, item: Item) -> AnswerTable:
        """The rows of an item of which nothing can be asked: its image cannot be unified."""
        ...

    def loop_figures(self, table: Any) -> dict[str, float]:
        """Metrics of answers, and of the baseline that is hardest to beat; NaN where nothing was answered."""
        ...
