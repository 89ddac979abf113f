"""True answers to all questions about the boxes of objects that a camera sees."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from vlm3.asking.object_questions import COMPARED, AnswerForm, Compared, ObjectQuestion, Relation
from vlm3.config import StrictModel
from vlm3.geometry.boxes import HOUR_DEG, OrientedBox, box_distance_m, clock_deg, clock_hour
from vlm3.geometry.pixels import Region
from vlm3.scenes.schema import Box, Scale


class Ties(StrictModel):
    """What is too close to call and therefore not asked."""

    min_length_m: Annotated[float, Field(ge=0)] = 0.1
    """Lengths and differences of position below it; the latter in metric scenes only."""
    position_share: Annotated[float, Field(ge=0)] = 0.05
    """Differences of position below this share of the distance from the camera to the farther of the two centres."""
    size_ratio: Annotated[float, Field(ge=1)] = 1.2
    """Widths, heights and volumes whose ratio is below it."""
    clock_deg: Annotated[float, Field(ge=0, lt=HOUR_DEG / 2)] = 5.0
    """Directions closer than this to the border between two hours; 5 leaves out a third of all directions."""
    region_iou: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Two regions whose intersection over union is above it: they cannot be told apart."""


DEFAULT_TIES = Ties()


def answer_value(
    question: ObjectQuestion, boxes: Sequence[Box], scale: Scale = Scale.METRIC, ties: Ties = DEFAULT_TIES
) -> float | None:
    """The true answer to a question about one or two boxes in the camera frame, in the order in which they are named.

    Axes are those of the camera (X right, Y down, Z forward), so "below" and "height" are as in the image, not along
    gravity. Positions are those of the box centres, but the nearest z decides what is behind or in front. Width,
    height and volume are the extents of the box's 8 corners along x, along y, and the product of the three extents.

    Args:
        question: what is asked.
        boxes: `question.objects` boxes; where both have a region, the regions decide whether they can be told apart.
        scale: scale of the scene; lengths are asked for in metric scenes only.
        ties: what is too close to call.

    Returns:
        The number of `AnswerForm`; None where the question has no clear answer and must not be asked.

    Raises:
        ValueError: the number of boxes is not that of the question.
    """
    if len(boxes) != question.objects:
        raise ValueError(f"{question.value} is about {question.objects} boxes, got {len(boxes)}")
    if question.objects == 2 and _same_region(boxes[0].region_px, boxes[1].region_px, ties):
        return None
    objects = [oriented(box) for box in boxes]
    match question.form:
        case AnswerForm.LENGTH:
            length_m = _length_m(question, objects)
            return length_m if scale is Scale.METRIC and length_m >= ties.min_length_m else None
        case AnswerForm.CLOCK:
            return _hour(objects, scale, ties)
        case AnswerForm.YES_NO | AnswerForm.CHOICE as form:
            holds = _holds(question.relation, objects, scale, ties)
            true, false = (1.0, 0.0) if form is AnswerForm.YES_NO else (1.0, 2.0)
            return None if holds is None else true if holds else false


def oriented(box: Box) -> OrientedBox:
    """The box as an `OrientedBox` in the frame of the camera."""
    axes = np.array(box.cam_R_object, np.float64).reshape(3, 3)
    return OrientedBox(np.array(box.center_cam_m, np.float64), np.array(box.size_m, np.float64), axes)


def _length_m(question: ObjectQuestion, objects: Sequence[OrientedBox]) -> float:
    match question:
        case ObjectQuestion.WIDTH:
            return _measure(objects[0], Compared.WIDTH)
        case ObjectQuestion.HEIGHT:
            return _measure(objects[0], Compared.HEIGHT)
        case ObjectQuestion.DISTANCE:
            return box_distance_m(objects[0], objects[1])
        case ObjectQuestion.HORIZONTAL_DISTANCE:
            return abs(_measure(objects[0], Compared.X) - _measure(objects[1], Compared.X))
        case ObjectQuestion.VERTICAL_DISTANCE:
            return abs(_measure(objects[0], Compared.Y) - _measure(objects[1], Compared.Y))
        case _:
            raise ValueError(f"{question.value} is not answered with a length")


def _hour(objects: Sequence[OrientedBox], scale: Scale, ties: Ties) -> float | None:
    first_m, second_m = objects[0].center_m, objects[1].center_m
    degrees = clock_deg(first_m, second_m)
    # Angle from the middle of the hour, whose sector reaches half an hour to each side.
    off_deg = abs((degrees + HOUR_DEG / 2) % HOUR_DEG - HOUR_DEG / 2)
    apart_m = float(np.hypot(second_m[0] - first_m[0], second_m[2] - first_m[2]))
    if off_deg > HOUR_DEG / 2 - ties.clock_deg or apart_m < _least_difference(objects, scale, ties):
        return None
    return float(clock_hour(degrees))


def _holds(relation: Relation, objects: Sequence[OrientedBox], scale: Scale, ties: Ties) -> bool | None:
    compared, sign = COMPARED[relation]
    first, second = (_measure(item, compared) for item in objects)
    if compared in (Compared.WIDTH, Compared.HEIGHT, Compared.VOLUME):
        tie = max(first, second) < ties.size_ratio * min(first, second)
    else:
        tie = abs(first - second) < _least_difference(objects, scale, ties)
    return None if tie or first == second else (first - second) * sign > 0


def _measure(item: OrientedBox, compared: Compared) -> float:
    match compared:
        case Compared.X:
            return float(item.center_m[0])
        case Compared.Y:
            return float(item.center_m[1])
        case Compared.NEAREST_Z:
            return item.nearest_z_m
        case Compared.WIDTH:
            return float(item.extents_m[0])
        case Compared.HEIGHT:
            return float(item.extents_m[1])
        case Compared.VOLUME:
            return float(item.extents_m.prod())


def _least_difference(objects: Sequence[OrientedBox], scale: Scale, ties: Ties) -> float:
    """Difference from which two positions can be told apart."""
    farther = max(float(np.linalg.norm(item.center_m)) for item in objects)
    return max(ties.position_share * farther, ties.min_length_m if scale is Scale.METRIC else 0.0)


def _same_region(first: Region | None, second: Region | None, ties: Ties) -> bool:
    if first is None or second is None:
        return False
    common = _area((*map(max, first[:2], second[:2]), *map(min, first[2:], second[2:])))
    return common > ties.region_iou * (_area(first) + _area(second) - common)


def _area(region: Sequence[float]) -> float:
    x0, y0, x1, y1 = region
    return max(x1 - x0, 0.0) * max(y1 - y0, 0.0)
