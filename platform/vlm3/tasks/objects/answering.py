"""Answers to questions about objects of an original image: `answer_objects` maps regions, asks and reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from vlm3.asking.object_questions import ObjectQuestion
from vlm3.asking.predictor import Predictor
from vlm3.asking.text_model import Reply, Status, TextRequest
from vlm3.geometry.pixels import Region
from vlm3.scenes.schema import Frame
from vlm3.tasks.objects.task import AskedObjects, ObjectsTask
from vlm3.views.sample import regions_in_view
from vlm3.views.unify import unify


@dataclass(frozen=True, slots=True)
class RegionAsked:
    """A question about one or two regions."""

    question: ObjectQuestion
    regions_px: tuple[Region, ...]
    """In the original image, in the order in which they are named."""


@dataclass(frozen=True, slots=True)
class ObjectAnswer:
    """The model's answer to a question about regions."""

    asked: str
    """The question in words; empty where it could not be asked."""
    text: str
    status: Status | Literal["outside"]
    """`outside`: the unified image shows nothing of a region."""
    value: float | None
    """The number of `vlm3.asking.object_questions.AnswerForm`; None unless the status is `ok`."""


def answer_objects(
    predictor: Predictor, frame: Frame, questions: Sequence[RegionAsked], item: str = "image"
) -> tuple[ObjectAnswer, ...]:
    """Answers to questions about regions of an original image, each asked on its own.

    Args:
        predictor: the model.
        frame: image and camera.
        questions: what to ask.
        item: name of the image, for messages.

    Raises:
        ConfigError: the model was not trained on objects.
        DataError: the image cannot be read or unified.
    """
    asked = predictor.ask.needed(AskedObjects)
    task = ObjectsTask(asked.ask)
    view = unify(frame.encoded_image, frame.camera, predictor.policy(asked.focal_px))
    size_px = (view.image.shape[1], view.image.shape[0])
    flat = [region for question in questions for region in question.regions_px]
    mapped = iter(regions_in_view(flat, view.source_camera, view.camera, least_kept=0.0))
    regions = [[next(mapped) for _ in question.regions_px] for question in questions]
    texts = [
        task.question(question.question, [region for region in found if region], size_px) if all(found) else ""
        for question, found in zip(questions, regions, strict=True)
    ]
    replies = iter(
        predictor.model.answer(
            TextRequest(
                item,
                (view.image,),
                tuple(text for text in texts if text),
                task.system,
                predictor.tokens(task.answer_tokens),
            )
        )
    )
    return tuple(
        _read(task, question.question, text, next(replies)) if text else ObjectAnswer("", "", "outside", None)
        for question, text in zip(questions, texts, strict=True)
    )


def _read(task: ObjectsTask, question: ObjectQuestion, asked: str, reply: Reply) -> ObjectAnswer:
    status, value = reply.read(partial(task.read, question))
    return ObjectAnswer(asked, reply.text, status, value)
