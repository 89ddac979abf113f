"""A room: all that the platform needs of a task. Only `vlm3.tasks.TASKS` lists the rooms; no other code names them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

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
    """What a benchmark asks about an item, for predictions that are made elsewhere."""

    images: tuple[str, ...]
    """Names of the frames."""
    points_px: tuple[float, ...] | None = None
    """x, y of each point in the original (first) image."""
    kind: str | None = None
    """Kind of the depth labels."""
    questions: tuple[str, ...] | None = None
    regions_px: tuple[tuple[float, ...], ...] | None = None
    """x0, y0, x1, y1 of the regions of each question."""


class TaskRoom(Protocol):
    """How a task is asked, answered, scored and drawn. Rooms that share a table are scored as one task."""

    @property
    def asked(self) -> type[Asked]:
        """Configuration of the task in a recipe and in an export; it carries the task's name."""
        ...

    @property
    def trained_by_default(self) -> bool:
        """Whether a recipe that does not mention the task trains it."""
        ...

    @property
    def templates(self) -> type[TaskTemplates] | None:
        """Class of the task's part of a template set, under the task's name; None where it uses another task's part."""
        ...

    @property
    def table(self) -> type[AnswerTable]:
        """Class of the table of its answers."""
        ...

    def shown(self, item: Item) -> tuple[Frame, ...]:
        """Images of the item that are asked about; empty where the task asks nothing about the item."""
        ...

    def answer(self, predictor: Predictor, asked: Any, item: Item) -> AnswerTable | None:
        """Ask a model everything about an item; None where there is nothing to ask.

        Args:
            predictor: the model.
            asked: what the model's spec says about the task: an instance of the class `asked`.
            item: item of a benchmark for which `shown` is not empty.

        Raises:
            DataError: an image cannot be read or unified.
        """
        ...

    def predicted(self, predictions: Predictions, item: Item) -> AnswerTable | None:
        """Table of predictions that were made elsewhere; None where the task asks nothing about the item.

        Raises:
            DataError: the prediction for the item is missing or impossible.
        """
        ...

    def listed(self, item: Item) -> Listing | None:
        """What must be answered about an item for `predicted`; None where the task asks nothing about it."""
        ...

    def plots(self, table: Any) -> Iterator[tuple[str, "Figure"]]:
        """Names and pictures of all answers to a benchmark."""
        ...

    def overlay(self, item: Item, table: Any) -> "Figure | None":
        """A picture of an item with its answers; None where there is nothing to draw."""
        ...


class LoopRoom(TaskRoom, Protocol):
    """A task that is also evaluated during training, on held-out frames."""

    def held_out_item(self, name: str, frame: Frame, points: int, seed: int) -> Item:
        """The item that asks about a frame, with the same questions each time.

        Args:
            name: name of the frame, unique among all sources.
            frame: frame of the held-out split, with labelled points.
            points: largest number of labels to ask about.
            seed: seed of the choice of labels.
        """
        ...

    def outside(self, item: Item) -> AnswerTable:
        """Table of an item about which nothing can be asked, since its image cannot be unified."""
        ...

    def loop_figures(self, table: Any, seed: int) -> dict[str, float]:
        """Metrics of answers, and of the baseline that is hardest to beat; NaN without answers."""
        ...

    def misses(self, predictor: Predictor, item: Item) -> NDArray[np.float64]:
        """(N, levels) how far the truths lie outside of the model's own intervals, as `vlm3.asking.calibration.misses`.

        Only of answers for which the model tells how likely each number is; none where it was not trained on the task.

        Raises:
            DataError: the image cannot be read or unified.
        """
        ...
