"""Questions about regions of an original image: named in the unified one, read by their kind."""

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.frames import make_frame
from vlm3.asking.items import ObjectItem, RegionQuestion
from vlm3.asking.object_questions import ObjectQuestion as Q
from vlm3.asking.predictor import Predictor
from vlm3.asking.spec import AskSpec
from vlm3.asking.text_model import ImageBounds, Reply, TextRequest
from vlm3.errors import ConfigError
from vlm3.evaluation.answering import TextAnswerer
from vlm3.geometry.camera import Camera, Distortion
from vlm3.tasks.objects.answering import RegionAsked, answer_objects
from vlm3.tasks.objects.table import ObjectTable
from vlm3.tasks.objects.task import AskedObjects

FRAME = make_frame("s", 0)
BOUNDS = ImageBounds(16, 256, 1 << 22)
LEFT, RIGHT = (2.0, 4.0, 10.0, 16.0), (16.0, 5.0, 30.0, 20.0)
ASK = AskSpec((AskedObjects(focal_px=60),))
"""Twice the focal length of a made frame."""


@dataclass
class Scripted:
    answers: list[str]
    asked: list[TextRequest] = field(default_factory=list)
    bounds: ImageBounds = BOUNDS

    def answer(self, request: TextRequest) -> list[Reply]:
        self.asked.append(request)
        return [Reply(text) for text in self.answers[: len(request.questions)]]


def test_regions_are_named_in_the_image_that_the_model_sees() -> None:
    model = Scripted(["yes", "region 2", "85 cm", "3 o'clock", "?"])
    questions = [
        RegionAsked(Q.LEFT, (LEFT, RIGHT)),
        RegionAsked(Q.BIG_CHOICE, (LEFT, RIGHT)),
        RegionAsked(Q.WIDTH, (RIGHT,)),
        RegionAsked(Q.DIRECTION, (LEFT, RIGHT)),
        RegionAsked(Q.HEIGHT, (LEFT,)),
    ]
    answers = answer_objects(Predictor(model, ASK), FRAME, questions, "item-1")
    assert [answer.value for answer in answers] == [1, 2, pytest.approx(0.85), 3, None]
    assert [answer.status for answer in answers] == ["ok"] * 4 + ["unreadable"]
    (request,) = model.asked
    height, width = request.images[0].shape[:2]
    assert (width, height) == (64, 48) and request.item == "item-1"
    # (2 + ½) · 60 / 30 − ½ = 4.5 of 64 px; the vertical focal is 31 px: (4 + ½) · 60 / 31 − ½ = 8.21 of 48.
    assert f"({round(4.5 / 64 * 1000)}, {round(8.2097 / 48 * 1000)}, " in answers[0].asked
    assert answers[2].asked.count("(") < answers[0].asked.count("(")


def test_a_region_beyond_the_lens_cannot_be_asked_about() -> None:
    # This lens turns back at a tangent of 0.58, which is 0.385 in the image: the left region lies beyond.
    near = (22.0, 8.0, 30.0, 16.0)
    lens = Camera(32, 24, 30.0, 31.0, 27.0, 11.5, Distortion.BROWN, (-1.0, 0.0, 0.0, 0.0))
    frame = dataclasses.replace(FRAME, camera=lens)
    model = Scripted(["1.0"] * 3)
    questions = [RegionAsked(Q.WIDTH, (LEFT,)), RegionAsked(Q.WIDTH, (near,)), RegionAsked(Q.DISTANCE, (near, LEFT))]
    answers = answer_objects(Predictor(model, ASK), frame, questions)
    assert [answer.status for answer in answers] == ["outside", "ok", "outside"]
    assert len(model.asked[0].questions) == 1
    asked = tuple(RegionQuestion(question.question, question.regions_px, 1.0) for question in questions)
    (table,) = TextAnswerer(Predictor(Scripted(["1.0"]), ASK)).answer(ObjectItem("i", "g", frame, asked))
    assert isinstance(table, ObjectTable) and table.status.tolist() == ["outside", "ok", "outside"]
    assert np.isnan(table.predicted).tolist() == [True, False, True]


def test_nothing_is_asked_of_a_model_that_was_not_trained_on_objects() -> None:
    model = Predictor(Scripted([]), AskSpec())
    with pytest.raises(ConfigError, match="not trained on objects questions"):
        answer_objects(model, FRAME, [RegionAsked(Q.WIDTH, (LEFT,))])
    assert TextAnswerer(model).answer(ObjectItem("i", "g", FRAME, None)) == ()
