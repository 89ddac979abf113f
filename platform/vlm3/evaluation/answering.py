"""Who is measured: a model that is asked in text, or predictions that were made elsewhere."""

from dataclasses import dataclass
from typing import Protocol

from vlm3.asking.items import Item
from vlm3.asking.predictor import Predictor, unify_policy
from vlm3.asking.room import TaskRoom
from vlm3.asking.spec import Asked, AskSpec
from vlm3.asking.tables import AnswerTable
from vlm3.asking.text_model import ImageBounds
from vlm3.tasks import TASKS
from vlm3.views.unify import unified_camera


class Answerer(Protocol):
    """Whoever is measured."""

    def answer(self, item: Item) -> tuple[AnswerTable, ...]:
        """Answers to everything that can be asked about an item; none where the answerer knows nothing of it.

        Raises:
            DataError: the item cannot be shown to the answerer.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TextAnswerer:
    """A model that is asked in text about everything it was trained on."""

    predictor: Predictor

    def answer(self, item: Item) -> tuple[AnswerTable, ...]:
        """Ask the model."""
        known = answering_rooms(self.predictor.ask).values()
        tables = [room.answer(self.predictor, asked, item) for room, asked in known if room.shown(item)]
        return tuple(table for table in tables if table is not None and len(table))


def check_shown(item: Item, ask: AskSpec, bounds: ImageBounds) -> None:
    """Refuse an item whose images cannot be unified as a model wants them; nothing is decoded or asked.

    Raises:
        DataError: saying why not.
    """
    for room, asked in answering_rooms(ask).values():
        for frame in room.shown(item):
            unified_camera(frame.camera, unify_policy(asked.focal_px, bounds))


def answering_rooms(ask: AskSpec) -> dict[str, tuple[TaskRoom, Asked]]:
    """Name of a table → the room that answers for a model, with its part of the spec.

    Of rooms that share a table it is the first one that the model knows.
    """
    found: dict[str, tuple[TaskRoom, Asked]] = {}
    for room in TASKS:
        asked = next((part for part in ask.parts if part.task == room.asked.task), None)
        if asked is not None:
            found.setdefault(room.table.task, (room, asked))
    return found
