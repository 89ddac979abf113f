"""A model's answers to the items of a benchmark, beside the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vlm3.benchmarks.items import DepthItem, Item, ObjectItem, PairItem, RegionQuestion
from vlm3.evaluation.object_questions import family_of, questions_of
from vlm3.evaluation.tables import AnswerTable, CorrespondenceTable, DepthTable, ObjectTable, PoseTable, Texts
from vlm3.geometry.camera import Camera
from vlm3.geometry.depth import DepthKind, convert_depth
from vlm3.infer.correspondence import answer_correspondence
from vlm3.infer.depth import answer_depth
from vlm3.infer.objects import RegionAsked, answer_objects
from vlm3.infer.pose import answer_pose
from vlm3.infer.predictor import Predictor, padded
from vlm3.infer.spec import AskedCorrespondence, AskedDepth, AskedDepthMarker, AskedObjects, AskedPose, AskSpec
from vlm3.infer.text_model import ImageBounds
from vlm3.scenes.schema import Frame, Scale
from vlm3.tasks.pose import PoseQuestion
from vlm3.views.unify import unified_camera

KINDS = (DepthKind.Z, DepthKind.RAY)
"""Order of the depth columns."""


class Answerer(Protocol):
    """Whoever is measured: a model that is asked in text, or predictions that were made elsewhere."""

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
        ask = self.predictor.ask
        match item:
            case DepthItem():
                return (self._depth(item),) if ask.depth or ask.depth_marker else ()
            case PairItem():
                tables: list[AnswerTable] = []
                if ask.correspondence and len(item.points1_px):
                    tables.append(self._correspondence(item, hidden=ask.correspondence.ask.hidden_points == "ask"))
                if ask.pose and item.cam1_T_cam2 is not None:
                    tables.append(self._pose(item, item.cam1_T_cam2))
                return tuple(table for table in tables if len(table))
            case ObjectItem():
                questions = questions_of(item, ask.objects.ask) if ask.objects else ()
                return (self._objects(item, questions),) if questions else ()

    def _depth(self, item: DepthItem) -> DepthTable:
        frame = item.frame
        answers = answer_depth(self.predictor, frame.encoded_image, frame.camera, item.points_px, item.id)
        predicted = np.array([(a.z_depth_m, a.ray_depth_m) for a in answers], np.float64).reshape(-1, 2)
        return depth_table(item, predicted, [a.text for a in answers], [a.status for a in answers])

    def _correspondence(self, item: PairItem, *, hidden: bool) -> CorrespondenceTable:
        asked = np.isfinite(item.points2_px[:, 0]) | hidden
        answers = answer_correspondence(
            self.predictor,
            (item.frame1.encoded_image, item.frame2.encoded_image),
            (item.frame1.camera, item.frame2.camera),
            item.points1_px[asked],
            item.id,
        )
        predicted = np.array([answer.point2_px or (np.nan, np.nan) for answer in answers]).reshape(-1, 2)
        texts, statuses = [answer.text for answer in answers], [answer.status for answer in answers]
        return correspondence_table(item, asked, predicted, texts, statuses)

    def _pose(self, item: PairItem, cam1_T_cam2: NDArray[np.float64]) -> PoseTable:
        answer = answer_pose(
            self.predictor,
            (item.frame1.encoded_image, item.frame2.encoded_image),
            (item.frame1.camera, item.frame2.camera),
            metric=is_metric(item),
            item=item.id,
        )
        statuses = [answer.statuses.get(kind, "not asked") for kind in PoseQuestion]
        return PoseTable(
            item=texts_of([item.id]),
            group=texts_of([item.group]),
            text=texts_of([answer.texts.get(kind, "") for kind in PoseQuestion])[None],
            status=texts_of(statuses)[None],
            metric=np.array([is_metric(item)]),
            true_cam1_T_cam2=cam1_T_cam2[None],
            predicted_angle_deg=np.array([answer.angle_deg]),
            predicted_cam1_R_cam2=answer.cam1_R_cam2[None],
            predicted_direction=answer.direction[None],
            predicted_distance_m=np.array([answer.distance_m]),
        )

    def _objects(self, item: ObjectItem, questions: Sequence[RegionQuestion]) -> ObjectTable:
        asked = [RegionAsked(question.question, question.regions_px) for question in questions]
        answers = answer_objects(self.predictor, item.frame, asked, item.id)
        return ObjectTable(
            item=repeated(item.id, len(questions)),
            group=repeated(item.group, len(questions)),
            category=texts_of([question.question.value for question in questions]),
            family=texts_of([family_of(question.question).value for question in questions]),
            question=texts_of([answer.asked for answer in answers]),
            text=texts_of([answer.text for answer in answers]),
            status=texts_of([answer.status for answer in answers]),
            true=np.array([question.value for question in questions], np.float64),
            predicted=np.array([np.nan if a.value is None else a.value for a in answers], np.float64),
        )


def check_shown(item: Item, ask: AskSpec, bounds: ImageBounds) -> None:
    """Refuse an item whose images cannot be unified as a model wants them; nothing is decoded or asked.

    Raises:
        DataError: saying why not.
    """
    frames: list[Frame]
    parts: list[AskedDepth | AskedDepthMarker | AskedCorrespondence | AskedPose | AskedObjects | None]
    match item:
        case DepthItem():
            frames, parts = [item.frame], [ask.depth or ask.depth_marker]
        case PairItem():
            frames, parts = [item.frame1, item.frame2], []
            parts += [ask.correspondence] if len(item.points1_px) else []
            parts += [ask.pose] if item.cam1_T_cam2 is not None else []
        case ObjectItem():
            frames, parts = [item.frame], [ask.objects]
    for focal_px in {part.focal_px for part in parts if part is not None}:
        for frame in frames:
            unified_camera(frame.camera, padded(focal_px, bounds))


def depth_table(
    item: DepthItem, predicted_m: NDArray[np.float64], texts: Sequence[str], statuses: Sequence[str]
) -> DepthTable:
    """Answers about an item's points: `predicted_m` (N, 2) as z and ray, NaN without a value."""
    frame, count = item.frame, len(item.points_px)
    true = [convert_depth(item.depth_m, item.points_px, frame.camera, frame.depth_kind, kind) for kind in KINDS]
    return DepthTable(
        item=repeated(item.id, count),
        group=repeated(item.group, count),
        text=texts_of(texts),
        status=texts_of(statuses),
        point_px=item.points_px,
        size_px=sizes(frame.camera, count),
        label_kind=repeated(frame.depth_kind.value, count),
        true_m=np.stack(true, axis=1),
        predicted_m=predicted_m,
    )


def correspondence_table(
    item: PairItem,
    asked: NDArray[np.bool_],
    predicted2_px: NDArray[np.float64],
    texts: Sequence[str],
    statuses: Sequence[str],
) -> CorrespondenceTable:
    """Answers about the `asked` (N,) of an item's points: `predicted2_px` (asked, 2), NaN without a place."""
    count = int(asked.sum())
    return CorrespondenceTable(
        item=repeated(item.id, count),
        group=repeated(item.group, count),
        text=texts_of(texts),
        status=texts_of(statuses),
        point1_px=item.points1_px[asked],
        size1_px=sizes(item.frame1.camera, count),
        true2_px=item.points2_px[asked],
        predicted2_px=predicted2_px,
        size2_px=sizes(item.frame2.camera, count),
    )


def is_metric(item: PairItem) -> bool:
    """Whether a pair's lengths are metres."""
    return item.frame1.scale is Scale.METRIC and item.frame2.scale is Scale.METRIC


def sizes(camera: Camera, count: int) -> NDArray[np.float64]:
    """(count, 2) width and height of an image."""
    return np.tile(np.array([camera.width_px, camera.height_px], np.float64), (count, 1))


def texts_of(texts: Sequence[str]) -> Texts:
    """(N,) texts as an array."""
    return np.array(texts, np.object_)


def repeated(text: str, count: int) -> Texts:
    """(count,) the same text."""
    return np.full(count, text, np.object_)
