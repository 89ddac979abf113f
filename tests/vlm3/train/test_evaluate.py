"""Scores in the loop: over scenes, and once more where a run goes on that had done all its steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.frames import make_frame
from vlm3.infer.predictor import Predictor
from vlm3.train.callbacks import Evaluation
from vlm3.train.evaluate import FrameAnswers, score


def answers(scene: str, frame: int, factor: float) -> FrameAnswers:
    true = np.linspace(1.0, 4.0, 5)
    return FrameAnswers(f"made/{scene}/{frame}", scene, np.zeros((5, 2)), true, factor * true)


def test_frames_of_one_scene_are_not_independent() -> None:
    """Ten rooms, half of them right in every frame: eight frames of each say no more than one."""
    rooms = [(f"room-{number}", 1.0 if number % 2 else 3.0) for number in range(10)]
    one = score("made", [answers(room, 0, factor) for room, factor in rooms], 0).model
    eight = score("made", [answers(room, n, factor) for room, factor in rooms for n in range(8)], 0).model
    assert one.delta1 == eight.delta1 == 0.5
    assert eight.delta1_interval == pytest.approx(one.delta1_interval, abs=0.05)


def test_what_goes_from_rank_to_rank_holds_no_pixels() -> None:
    assert not {name for name in FrameAnswers.__slots__ if "image" in name} - {"image_id"}


def test_scores_after_the_last_step_are_asked_for_only_where_they_are_missing(export_dir: Path) -> None:
    model = Predictor.load(export_dir, "cpu")
    asked = []

    @contextmanager
    def predictor() -> Iterator[Predictor]:
        asked.append("asked")
        yield model

    evaluation = Evaluation(
        predictor, {"made": [make_frame("room", 0, source="made")]}, {"made": []}, 2, 0, 9, 10, None
    )
    assert evaluation.conclude(10)["eval/made/answers"] == 2
    assert evaluation.conclude(10) == evaluation.latest and asked == ["asked"]
    assert Evaluation(predictor, {}, {}, 5, 0, 10, 10, None).conclude(10) == {}
