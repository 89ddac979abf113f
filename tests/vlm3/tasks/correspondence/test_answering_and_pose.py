"""Answers about two images: asked about unified images, given in pixels and axes of the original ones."""

from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest

from vlm3.asking.predictor import Predictor
from vlm3.asking.spec import AskSpec
from vlm3.asking.text_model import ImageBounds, Reply, TextRequest
from vlm3.errors import ConfigError
from vlm3.geometry.camera import Camera, Distortion
from vlm3.geometry.rotation import YawPitchRoll, rotation_of
from vlm3.tasks.correspondence.answering import answer_correspondence
from vlm3.tasks.correspondence.task import AskedCorrespondence, CorrespondenceTask, CorrespondenceTaskConfig
from vlm3.tasks.pose.answering import answer_pose
from vlm3.tasks.pose.task import AskedPose, PoseQuestion, PoseTaskConfig

CAMERAS = (
    Camera(160, 120, 100.0, 90.0, 79.5, 59.5),
    Camera(200, 100, 140.0, 140.0, 99.5, 49.5, Distortion.FISHEYE, (-0.02, 0.004, 0.0, 0.0)),
)
POINTS1_PX = np.array([[10.0, 20.0], [-5.0, 3.0], [150.0, 110.0], [80.0, 60.0], [79.5, 59.5]])
N = 100_000
"""So that names round to a thousandth of a pixel."""

BOUNDS = ImageBounds(32, 1024, 1 << 24)


@dataclass
class Scripted:
    """A model that answers from a list, and keeps what it was asked."""

    answers: list[str]
    asked: list[TextRequest] = field(default_factory=list)
    bounds: ImageBounds = BOUNDS

    def answer(self, request: TextRequest) -> list[Reply]:
        self.asked.append(request)
        return [Reply(text) for text in self.answers[: len(request.questions)]]


@pytest.fixture(scope="module")
def images() -> tuple[bytes, bytes]:
    encoded = [cv2.imencode(".png", np.zeros((c.height_px, c.width_px, 3), np.uint8))[1].tobytes() for c in CAMERAS]
    return encoded[0], encoded[1]


def predictor(model: Scripted) -> Predictor:
    ask = AskedCorrespondence(focal_px=70, ask=CorrespondenceTaskConfig(reference_range=N))
    return Predictor(
        model,
        AskSpec(
            (
                ask,
                AskedPose(focal_px=70),
            )
        ),
    )


def test_places_are_mapped_back_through_the_second_camera(images: tuple[bytes, bytes]) -> None:
    model = Scripted(["(50000, 50000)", "not visible", "somewhere", "(99999, 99999)"])
    answers = answer_correspondence(predictor(model), images, CAMERAS, POINTS1_PX, "pair-7")
    assert [answer.status for answer in answers] == ["ok", "outside", "not visible", "unreadable", "ok"]
    (request,) = model.asked
    assert request.item == "pair-7" and len(request.images) == 2 and len(request.questions) == 4
    height, width = request.images[1].shape[:2]
    for answer, unified in ((answers[0], (width / 2, height / 2)), (answers[4], (width, height))):
        assert answer.point2_px is not None
        # Forward by hand: the ray of the original pixel, seen by the unified camera. It keeps the principal point, and
        # begins with the whole pixel that holds the outermost ray of a corner.
        ray, corner = CAMERAS[1].unproject(np.array([answer.point2_px, (-0.5, -0.5)]))
        axis = (np.array([99.5, 49.5]) + 0.5) * 70 / 140
        centre = axis - 0.5 - np.floor(axis + corner[:2] * 70)
        assert ray[:2] * 70 / ray[2] + centre == pytest.approx(unified, abs=0.02)
    assert answers[4].point2_px > (200, 100), "a place in the padding lies beyond the image, by so many pixels"  # type: ignore[operator]


def test_the_asked_point_is_named_in_the_unified_first_image(images: tuple[bytes, bytes]) -> None:
    model = Scripted(["not visible"] * 5)
    made = predictor(model)
    answer_correspondence(made, images, CAMERAS, POINTS1_PX[:1])
    assert made.ask.part(AskedCorrespondence) is not None
    task = CorrespondenceTask(made.ask.needed(AskedCorrespondence).ask)
    height, width = model.asked[0].images[0].shape[:2]
    x, y = (POINTS1_PX[0] + 0.5) * (70 / 100, 70 / 90) - 0.5
    assert model.asked[0].questions == (task.question((x, y), (width, height)),)


def test_a_pose_is_put_together_from_four_answers(images: tuple[bytes, bytes]) -> None:
    model = Scripted(["31.2", "yaw 30.0, pitch -5.0, roll 2.0", "right, forward (0.60, 0.00, 0.80)", "1.25 m"])
    answer = answer_pose(predictor(model), images, CAMERAS, metric=True)
    assert (answer.angle_deg, answer.distance_m, answer.unreadable) == (31.2, 1.25, frozenset())
    assert answer.cam1_R_cam2 == pytest.approx(rotation_of(YawPitchRoll(30, -5, 2)))
    assert answer.direction == pytest.approx([0.6, 0, 0.8])
    assert list(answer.texts) == list(PoseQuestion) and len(model.asked[0].images) == 2


def test_what_cannot_be_read_is_missing_and_said(images: tuple[bytes, bytes]) -> None:
    answer = answer_pose(predictor(Scripted(["?", "yaw 1", "left", "-"])), images, CAMERAS, metric=True)
    assert answer.unreadable == frozenset(PoseQuestion)
    assert np.isnan([answer.angle_deg, answer.distance_m, *answer.direction, *answer.cam1_R_cam2.ravel()]).all()


def test_metres_are_asked_for_only_where_there_are_some_and_questions_as_configured(
    images: tuple[bytes, bytes],
) -> None:
    model = Scripted(["1", "yaw 0, pitch 0, roll 0", "right (1, 0, 0)"])
    answer = answer_pose(predictor(model), images, CAMERAS, metric=False)
    assert PoseQuestion.DISTANCE not in answer.texts and not answer.unreadable and np.isnan(answer.distance_m)
    few = AskSpec((AskedPose(focal_px=70, ask=PoseTaskConfig(questions=(PoseQuestion.DISTANCE, PoseQuestion.ANGLE))),))
    answer = answer_pose(Predictor(Scripted(["2", "3"]), few), images, CAMERAS, metric=True)
    assert (answer.distance_m, answer.angle_deg) == (2, 3)


def test_what_was_not_trained_is_not_asked(images: tuple[bytes, bytes]) -> None:
    nothing = Predictor(Scripted([]), AskSpec())
    with pytest.raises(ConfigError, match="not trained on pose"):
        answer_pose(nothing, images, CAMERAS, metric=True)
    with pytest.raises(ConfigError, match="not trained on correspondence"):
        answer_correspondence(nothing, images, CAMERAS, POINTS1_PX)
    model = Scripted(["1"] * 4)
    answer_pose(Predictor(model, AskSpec((AskedPose(),), answer_tokens=900)), images, CAMERAS, metric=True)
    assert model.asked[0].max_new_tokens == 900
