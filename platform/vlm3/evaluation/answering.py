"""What an evaluation measures: a model that is asked in text, or predictions that were made elsewhere."""

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
    """Gives the answers that an evaluation measures."""

    def answer(self, item: Item) -> tuple[AnswerTable, ...]:
        """Answers to everything that can be asked about an item; empty if the answerer cannot answer any of it.

        Raises:
            DataError: the item cannot be shown to the answerer.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TextAnswerer:
    """A model that is asked in text about everything it was trained on."""

    predictor: Predictor

    def answer(self, item: Item) -> tuple[AnswerTable, ...]:
        """Ask the model about everything that its rooms show of the item."""
        known = answering_rooms(self.predictor.ask).values()
        tables = [room.answer(self.predictor, asked, item) for room, asked in known if room.shown(item)]
        return tuple(table for table in tables if table is not None and len(table))


def check_shown(item: Item, ask: AskSpec, bounds: ImageBounds) -> None:
    """Check that the images of an item can be unified for a model; nothing is decoded or asked.

    Raises:
        DataError: an image cannot be unified; the message says why.
    """
    for room, asked in answering_rooms(ask).values():
        for frame in room.shown(item):
            unified_camera(frame.camera, unify_policy(asked.focal_px, bounds))


def answering_rooms(ask: AskSpec) -> dict[str, tuple[TaskRoom, Asked]]:
    """For each name of a table, the room whose answers fill it for a model, and that room's part of the spec.

    If rooms share a table, it is the first one that the model was trained on.
    """
    found: dict[str, tuple[TaskRoom, Asked]] = {}
    for room in TASKS:
        asked = next((part for part in ask.parts if part.task == room.asked.task), None)
        if asked is not None:
            found.setdefault(room.table.task, (room, asked))
    return found
