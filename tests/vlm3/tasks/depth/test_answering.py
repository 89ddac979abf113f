"""Depth at points of an original image: mapped, asked, read, and given as z and ray."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from vlm3.asking.predictor import Predictor
from vlm3.asking.spec import AskSpec
from vlm3.asking.templates import TemplateSet, load_templates
from vlm3.asking.text_model import Ending, ImageBounds, Reply, TextRequest
from vlm3.errors import ConfigError, DataError
from vlm3.geometry.camera import Camera, Distortion
from vlm3.geometry.depth import DepthKind
from vlm3.infer.loading import load_predictor
from vlm3.infer.local_model import LocalModel
from vlm3.models.export import export_model
from vlm3.tasks.depth.answering import answer_depth
from vlm3.tasks.depth.task import AskedDepth, DepthTask, DepthTaskConfig
from vlm3.tasks.depth_marker.task import AskedDepthMarker
from vlm3.tasks.spec_file import spec_json
from vlm3.views.unify import unify

FOCAL_PX = 70.0
BOUNDS = ImageBounds(32, 1024, 1 << 22)
CAMERA = Camera(160, 120, 100.0, 90.0, 79.5, 59.5)
FISHEYE = Camera(160, 120, 140.0, 140.0, 79.5, 59.5, Distortion.FISHEYE, (-0.02, 0.004, 0.0, 0.0))
POINTS_PX = np.array([[12.0, 9.0], [79.5, 59.5], [40.25, 100.0], [147.0, 108.0]])


def predictor(asked: Any, kind: DepthKind = DepthKind.RAY) -> Predictor:
    config = DepthTaskConfig(reference_range=100, decimals=1, templates="compact-1", depth_kind=kind)
    model = LocalModel(asked.model, asked.encoder, asked.vision)
    return Predictor(model, AskSpec((AskedDepth(focal_px=FOCAL_PX, ask=config),)))


@pytest.fixture(scope="module")
def encoded() -> bytes:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    done, data = cv2.imencode(".png", cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC))
    assert done
    return data.tobytes()


@pytest.mark.floats
@pytest.mark.parametrize("camera", [CAMERA, FISHEYE], ids=["pinhole", "fisheye"])
@pytest.mark.parametrize("kind", list(DepthKind))
def test_answers_are_those_of_the_stock_model_as_z_and_ray(
    trained: Any, encoded: bytes, camera: Camera, kind: DepthKind
) -> None:
    made = predictor(trained, kind)
    answers = answer_depth(made, encoded, camera, POINTS_PX)
    view = unify(encoded, camera, made.policy(FOCAL_PX))
    assert made.ask.part(AskedDepth) is not None
    task = DepthTask(made.ask.needed(AskedDepth).ask)
    questions = [task.question((x, y), view.image.shape[1::-1], FOCAL_PX) for x, y in view.map_points(POINTS_PX)]
    stock = trained.stock([view.image], questions, 16)
    assert all(answer.text in likeliest for answer, likeliest in zip(answers, stock, strict=True))
    for answer, point in zip(answers, POINTS_PX, strict=True):
        assert answer.status == "ok" and answer.z_depth_m is not None and answer.ray_depth_m is not None
        said, other = answer.ray_depth_m, answer.z_depth_m
        if kind is DepthKind.Z:
            said, other = other, said
        assert said == pytest.approx(float(answer.text))
        ray = camera.unproject(point[None])[0]
        assert answer.ray_depth_m == pytest.approx(answer.z_depth_m * np.linalg.norm(ray), rel=1e-6)
    assert answers[1].z_depth_m == pytest.approx(answers[1].ray_depth_m), "on the axis they are the same"


@pytest.mark.floats
def test_points_outside_are_said_to_be_and_the_others_answered_alike(trained: Any, encoded: bytes) -> None:
    made = predictor(trained)
    outside = np.array([[-1.0, 5.0], [160.0, 5.0], [5.0, 300.0], [np.nan, 5.0]])
    mixed = answer_depth(made, encoded, CAMERA, np.concatenate([outside, POINTS_PX])[[0, 4, 1, 5, 2, 6, 3, 7]])
    assert [answer.status for answer in mixed] == ["outside", "ok"] * 4
    assert mixed[1::2] == answer_depth(made, encoded, CAMERA, POINTS_PX)
    assert {(answer.text, answer.z_depth_m, answer.ray_depth_m) for answer in mixed[::2]} == {("", None, None)}
    assert [answer.status for answer in answer_depth(made, encoded, CAMERA, outside)] == ["outside"] * 4
    assert answer_depth(made, encoded, CAMERA, np.empty((0, 2))) == ()


def test_an_untrained_model_is_unreadable_not_zero(untrained: Any, encoded: bytes) -> None:
    answers = answer_depth(predictor(untrained), encoded, CAMERA, POINTS_PX)
    assert {answer.status for answer in answers} <= {"unreadable", "cut"}
    assert all(answer.z_depth_m is None and answer.ray_depth_m is None and answer.text for answer in answers)


@dataclass
class Scripted:
    """Answers from a list, and keeps what it was asked."""

    answers: list[str]
    asked: list[TextRequest] = field(default_factory=list)
    bounds: ImageBounds = BOUNDS

    def answer(self, request: TextRequest) -> list[Reply]:
        self.asked.append(request)
        return [Reply(self.answers[len(self.asked) - 1])]


def test_a_model_that_knows_marked_points_only_sees_an_arrow_at_each(encoded: bytes) -> None:
    model = Scripted(["1.5", "?", "2 m", "3.0"])
    ask = AskSpec((AskedDepthMarker(focal_px=FOCAL_PX),))
    answers = answer_depth(Predictor(model, ask), encoded, CAMERA, POINTS_PX, "image-1")
    assert [answer.ray_depth_m for answer in answers] == [1.5, None, 2.0, 3.0]
    view = unify(encoded, CAMERA, Predictor(model, ask).policy(FOCAL_PX))
    for request, (x, y) in zip(model.asked, view.map_points(POINTS_PX), strict=True):
        (question,) = request.questions
        assert "arrow" in question and not any(map(str.isdigit, question))
        changed = np.argwhere((request.images[0] != view.image).any(axis=2))
        assert np.abs(changed - (y, x)).sum(axis=1).min() < 3, "the arrow reaches its point"
        assert 0 < len(changed) < view.image.shape[0] * view.image.shape[1] / 4
    again = Scripted(["1"] * 4)
    answer_depth(Predictor(again, ask), encoded, CAMERA, POINTS_PX, "image-1")
    assert all((a.images[0] == b.images[0]).all() for a, b in zip(model.asked, again.asked, strict=True))


@dataclass
class Speaker:
    """Says one sentence, token by token, a byte each, as far as it may."""

    sentence: str
    bounds: ImageBounds = BOUNDS

    def answer(self, request: TextRequest) -> list[Reply]:
        said, most = self.sentence.encode(), request.max_new_tokens
        ending = Ending.ITSELF if len(said) < most else Ending.CUT
        return [Reply(said[:most].decode(), ending)] * len(request.questions)


def test_a_sentence_of_the_template_set_is_said_to_its_end_and_a_cut_one_has_no_value(encoded: bytes) -> None:
    plain = load_templates("vlm3-1").model_dump(mode="json")
    plain["depth"] |= {"answer": "The surface is {metres:.2f} meters away.", "pattern": r"is (?P<value>\S+) meters"}
    config = DepthTaskConfig(templates=TemplateSet.parse(plain, "sentences"))
    ask = AskSpec((AskedDepth(focal_px=FOCAL_PX, ask=config),))
    speaker = Speaker("The surface is 2.45 meters away.")
    answers = answer_depth(Predictor(speaker, ask), encoded, CAMERA, POINTS_PX)
    assert {(answer.status, answer.ray_depth_m) for answer in answers} == {("ok", 2.45)}
    fewer = replace(ask, answer_tokens=27)
    answers = answer_depth(Predictor(speaker, fewer), encoded, CAMERA, POINTS_PX)
    assert {(a.text, a.status, a.ray_depth_m) for a in answers} == {("The surface is 2.45 meters ", "cut", None)}


def test_a_number_that_never_ends_is_no_depth(encoded: bytes) -> None:
    ask = AskSpec((AskedDepth(focal_px=FOCAL_PX),))
    for digits in (10_000, 16):
        answers = answer_depth(Predictor(Speaker("2" * digits), ask), encoded, CAMERA, POINTS_PX)
        assert {answer.z_depth_m for answer in answers} == {None}
        assert {answer.status for answer in answers} == {"cut" if digits > 16 else "unreadable"}


@pytest.mark.floats
def test_a_loaded_export_gives_the_same_answers(trained: Any, encoded: bytes, tmp_path: Path) -> None:
    made = predictor(trained)
    out = export_model(trained.model, None, trained.directory, tmp_path / "export", {"vlm3.json": spec_json(made.ask)})
    loaded = load_predictor(out, "cpu")
    assert made.ask.part(AskedDepth) is not None and loaded.ask == made.ask and not loaded.model.model.training
    weights, exported = trained.model.state_dict(), loaded.model.model.state_dict()
    assert weights.keys() == exported.keys()
    assert all(torch.equal(weights[name], exported[name]) for name in weights)
    # Weights that lie elsewhere in memory may round otherwise: at a tie, another answer is as right.
    task, view = DepthTask(made.ask.needed(AskedDepth).ask), unify(encoded, FISHEYE, made.policy(FOCAL_PX))
    questions = [task.question((x, y), view.image.shape[1::-1], FOCAL_PX) for x, y in view.map_points(POINTS_PX)]
    answers, before = (answer_depth(each, encoded, FISHEYE, POINTS_PX) for each in (loaded, made))
    for answer, earlier, likeliest in zip(answers, before, trained.stock([view.image], questions, 16), strict=True):
        assert answer == earlier or (answer.text in likeliest and len(likeliest) > 1)


def test_what_cannot_be_asked_is_refused(tiny_dir: Path, trained: Any, encoded: bytes) -> None:
    with pytest.raises(ConfigError, match=r"vlm3\.json: no such file"):
        load_predictor(tiny_dir, "cpu")
    with pytest.raises(ConfigError, match="no usable GPU"):
        LocalModel.load(tiny_dir, "cuda:9")
    with pytest.raises(ConfigError, match="not trained on depth"):
        answer_depth(Predictor(predictor(trained).model, AskSpec()), encoded, CAMERA, POINTS_PX)
    with pytest.raises(DataError):
        answer_depth(predictor(trained), b"not an image", CAMERA, POINTS_PX)
    with pytest.raises(DataError, match="160x120"):
        answer_depth(predictor(trained), encoded, Camera(99, 120, 100, 90, 50, 60), POINTS_PX)
