"""The room of the objects task."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlm3.asking.items import Item, ObjectItem, RegionQuestion
from vlm3.asking.predictions import Predictions, statuses
from vlm3.asking.predictor import Predictor
from vlm3.asking.room import Listing
from vlm3.asking.tables import Texts, repeated, texts_of
from vlm3.scenes.schema import Frame
from vlm3.tasks.objects.answering import RegionAsked, answer_objects
from vlm3.tasks.objects.questions import family_of, questions_of
from vlm3.tasks.objects.table import ObjectTable
from vlm3.tasks.objects.task import AskedObjects, ObjectsTaskConfig
from vlm3.tasks.objects.templates import ObjectTemplates

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ObjectsRoom:
    """Which of two objects is lower, wider or nearer, how far apart and how large they are."""

    asked = AskedObjects
    trained_by_default = False
    templates = ObjectTemplates
    table = ObjectTable

    def shown(self, item: Item) -> tuple[Frame, ...]:
        """The image of an item with objects."""
        return (item.frame,) if isinstance(item, ObjectItem) else ()

    def answer(self, predictor: Predictor, asked: AskedObjects, item: Item) -> ObjectTable | None:
        """Answers to the published questions, or to those that the boxes answer clearly."""
        questions = questions_of(item, asked.ask) if isinstance(item, ObjectItem) else ()
        if not isinstance(item, ObjectItem) or not questions:
            return None
        wanted = [RegionAsked(question.question, question.regions_px) for question in questions]
        answers = answer_objects(predictor, item.frame, wanted, item.id)
        return _table(
            item,
            questions,
            worded=texts_of([answer.asked for answer in answers]),
            text=texts_of([answer.text for answer in answers]),
            status=texts_of([answer.status for answer in answers]),
            predicted=np.array([np.nan if a.value is None else a.value for a in answers], np.float64),
        )

    def predicted(self, predictions: Predictions, item: Item) -> ObjectTable | None:
        """Table of predictions, which are a number for each question, in order."""
        questions = questions_of(item, ObjectsTaskConfig()) if isinstance(item, ObjectItem) else ()
        if not isinstance(item, ObjectItem) or not questions:
            return None
        count = len(questions)
        values = predictions.find(item.id, ObjectTable.task).numbers(count, f"{count} values, one a question")
        blank = repeated("", count)
        return _table(item, questions, blank, blank, texts_of(statuses(values)), values)

    def listed(self, item: Item) -> Listing | None:
        """Image, questions and their regions."""
        questions = questions_of(item, ObjectsTaskConfig()) if isinstance(item, ObjectItem) else ()
        if not isinstance(item, ObjectItem) or not questions:
            return None
        return Listing(
            (item.frame.frame,),
            questions=tuple(question.question.value for question in questions),
            regions_px=tuple(tuple(np.ravel(question.regions_px).tolist()) for question in questions),
        )

    def plots(self, table: ObjectTable) -> Iterator[tuple[str, "Figure"]]:
        """No pictures."""
        return iter(())

    def overlay(self, item: Item, table: ObjectTable) -> "Figure | None":
        """The image with its boxes, beside some questions."""
        from vlm3.storage.images import decode_rgb
        from vlm3.tasks.objects.pictures import boxes_overlay

        if not isinstance(item, ObjectItem):
            return None
        return boxes_overlay(decode_rgb(item.frame.encoded_image), item.frame.camera, item.frame.boxes or (), table)


def _table(
    item: ObjectItem,
    questions: Sequence[RegionQuestion],
    worded: Texts,
    text: Texts,
    status: Texts,
    predicted: NDArray[np.float64],
) -> ObjectTable:
    count = len(questions)
    return ObjectTable(
        item=repeated(item.id, count),
        group=repeated(item.group, count),
        category=texts_of([question.question.value for question in questions]),
        family=texts_of([family_of(question.question).value for question in questions]),
        question=worded,
        text=text,
        status=status,
        true=np.array([question.value for question in questions], np.float64),
        predicted=predicted,
    )
