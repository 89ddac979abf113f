"""Scores in the loop: over scenes, of what can be asked, and once more where a run had done all its steps before."""

import json
import logging
import math
import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.broken import write_source
from tests.export_fixtures import ASK
from tests.frames import MadeReader, make_frame
from tests.oracles import Oracle
from vlm3.asking.predictor import Predictor
from vlm3.asking.tables import concatenate, empty
from vlm3.asking.text_model import ImageBounds
from vlm3.evaluation.outcomes import asked_only
from vlm3.geometry.camera import Distortion
from vlm3.infer.loading import load_predictor
from vlm3.scenes.protocol import Rejection
from vlm3.scenes.schema import Frame
from vlm3.scenes.sharded import ShardedSource
from vlm3.storage.split import Split
from vlm3.tasks.depth.room import DepthRoom, depth_table
from vlm3.tasks.depth.table import DepthTable
from vlm3.tracking.config import TrackingConfig
from vlm3.tracking.runs import prepare_tracking, start_run
from vlm3.train.callbacks.evaluation import Evaluation
from vlm3.train.evaluate import ask_frame, held_out_frames, image_id

MIDDLE, CORNERS = [(15.0, 11.0), (16.0, 12.0)], [(0.0, 0.0), (31.0, 0.0), (31.0, 23.0)]
THREE_METRES = Predictor(Oracle(lambda request, question: "3.0", ImageBounds(16, 1024, 1 << 18)), ASK)
"""Says what is true of all made frames."""


def answers(scene: str, number: int, factor: float) -> DepthTable:
    """About five labels of a frame, each so many times too far."""
    frame = make_frame(scene, number)
    item = DepthRoom().held_out_item(image_id(frame), frame, 5, 0)
    true = DepthRoom().outside(item).true_m
    return depth_table(item, factor * true, [""] * 5, ["ok"] * 5)


def seen_through_a_lens(number: int, points_px: list[tuple[float, float]]) -> Frame:
    """A frame with these labels, whose lens has no ray at the corners: r(1 - r²/2) grows up to 0.54 only."""
    frame = make_frame("room", number)
    camera = replace(frame.camera, distortion=Distortion.BROWN, coefficients=(-0.5, 0.0, 0.0, 0.0))
    points = np.array([(u, v, 3.0) for u, v in points_px], np.float32).reshape(-1, 3)
    return replace(frame, camera=camera, points=points)


def of_another_size(number: int) -> Frame:
    """A frame whose K is of an image of twice the size, as earlier versions took it: it is not unified."""
    frame = make_frame("room", number)
    return replace(frame, camera=replace(frame.camera, cx_px=33.0, cy_px=25.0), points=frame.points[:3])


def asked_points(frame: Frame) -> set[tuple[float, ...]]:
    """Of at most seven labels of a frame, those that can be asked about."""
    table = asked_only(ask_frame(THREE_METRES, frame, 7, 3))
    assert isinstance(table, DepthTable)
    return {tuple(point) for point in table.point_px}


@contextmanager
def three_metres() -> Iterator[Predictor]:
    yield THREE_METRES


def test_labels_that_cannot_be_asked_about_are_no_wrong_answers() -> None:
    frame = seen_through_a_lens(0, MIDDLE + CORNERS)
    table = ask_frame(THREE_METRES, frame, 5, 0)
    found = asked_only(table)
    assert isinstance(found, DepthTable) and len(table) == 5
    assert sorted(map(tuple, found.point_px)) == MIDDLE
    true, predicted = found.own_kind()
    assert np.isfinite(predicted).all() and true.tolist() == [3.0, 3.0]
    evaluation = Evaluation(three_metres, {"made": [frame]}, {"made": []}, 5, 0, 9, 10, None)
    metrics = evaluation.evaluate(10)
    assert metrics["eval/made/delta1"] == 1 and metrics["eval/made/unreadable_share"] == 0
    assert metrics["eval/made/answers"] == 2 and metrics["eval/made/not_asked_count"] == 3


def test_labels_that_can_be_asked_about_are_the_ones_chosen_before() -> None:
    frame = make_frame("room", 0)
    found = asked_points(frame)
    assert len(found) == 7
    assert found <= {tuple(point) for point in frame.points[:, :2].astype(float)}
    assert asked_points(replace(frame, camera=seen_through_a_lens(0, []).camera)) < found


@pytest.mark.parametrize(
    ("frames", "asked", "left_out"),
    [
        ([], 0, 0),
        ([seen_through_a_lens(0, [])], 0, 0),
        ([seen_through_a_lens(0, CORNERS)], 0, 3),
        ([of_another_size(0)], 0, 3),
        ([seen_through_a_lens(0, CORNERS), seen_through_a_lens(1, MIDDLE), of_another_size(2)], 2, 6),
    ],
    ids=["no frame", "no label", "none that can be asked", "not to be unified", "in one of three frames"],
)
def test_frames_with_nothing_to_ask_are_scored_pictured_and_recorded(
    tmp_path: Path, frames: list[Frame], asked: int, left_out: int, caplog: pytest.LogCaptureFixture
) -> None:
    prepare_tracking(TrackingConfig(), tmp_path)
    run = start_run(TrackingConfig(), tmp_path, "loop", "evaluation")
    evaluation = Evaluation(three_metres, {"made": frames}, {"made": frames}, 5, 0, 10, 10, run)
    with caplog.at_level(logging.INFO, logger="vlm3"):
        metrics = evaluation.conclude(10)
    assert (metrics["eval/made/answers"], metrics["eval/made/not_asked_count"]) == (asked, left_out)
    assert metrics["eval/made/delta1"] == 1 if asked else math.isnan(metrics["eval/made/delta1"])
    assert len(list(tmp_path.rglob("overlay-*.png"))) == len(frames) and list(tmp_path.rglob("scatter-*.png"))
    told = [(record.levelno, record.getMessage()) for record in caplog.records if "not asked:" in record.getMessage()]
    unfit = [record.getMessage() for record in caplog.records if "not asked about" in record.getMessage()]
    assert [text.partition(": not")[0] for text in unfit] == [image_id(f) for f in frames if f.camera.cx_px == 33]
    assert len(told) == (left_out > 0)
    for level, text in told:
        assert text.startswith(f"evaluation: made, depth: not asked: {left_out} of {asked + left_out} (")
        assert level == (logging.INFO if asked else logging.WARNING)
    assert json.loads(json.dumps(metrics)).keys() == metrics.keys()


def test_frames_of_one_scene_are_not_independent() -> None:
    """Ten rooms, half of them right in every frame: eight frames of each say no more than one."""
    rooms = [(f"room-{number}", 1.0 if number % 2 else 3.0) for number in range(10)]
    one = delta1([answers(room, 0, factor) for room, factor in rooms])
    eight = delta1([answers(room, n, factor) for room, factor in rooms for n in range(8)])
    assert one[1] == eight[1] == 0.5
    assert eight[2] == pytest.approx(one[2], abs=0.05)


def delta1(tables: list[DepthTable]) -> tuple[str, float, tuple[float, float]]:
    return next(f for f in concatenate(tables).figures(0) if f[0] == "delta1" and len(f) == 3)


def test_the_gain_over_the_constant_comes_with_its_interval_over_scenes() -> None:
    """Every label is 3 m, so the constant is right everywhere: half of the rooms right is half of it lost."""
    rooms = [answers(f"room-{number}", n, 1.0 if number % 2 else 3.0) for number in range(10) for n in range(4)]
    found = DepthRoom().loop_figures(concatenate(rooms), seed=0)
    assert found["delta1_gain"] == found["delta1"] - found["constant_delta1"] == -0.5
    assert -0.9 < found["delta1_gain_low"] < -0.6 and -0.4 < found["delta1_gain_high"] < -0.1
    nothing = DepthRoom().loop_figures(empty(DepthTable), seed=0)
    assert all(math.isnan(value) for value in nothing.values()) and nothing.keys() == found.keys()


def test_what_goes_from_rank_to_rank_holds_no_pixels() -> None:
    frame = make_frame("room", 0)
    sent = pickle.dumps(ask_frame(THREE_METRES, frame, 5, 0))
    assert frame.encoded_image not in sent and len(sent) < 4000


def test_scores_after_the_last_step_are_asked_for_only_where_they_are_missing(export_dir: Path) -> None:
    model = load_predictor(export_dir, "cpu")
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


class PartlyLabelled(MadeReader):
    """A source in which only some scenes have labels."""

    labelled: frozenset[int] = frozenset()

    def frames(self, scene: str) -> Iterator[Frame | Rejection]:
        for frame in super().frames(scene):
            assert isinstance(frame, Frame)
            kept = int(scene.removeprefix("scene-")) in self.labelled
            yield frame if kept else replace(frame, points=frame.points[:0])


@pytest.mark.parametrize(
    ("labelled", "found", "most_reads"),
    [(range(160), 3, 3), ([0, 80], 3, 3 + 24), ([0, 5, 80, 159], 3, 3), ([], 0, 24), ([1], 0, 3 + 24)],
    ids=["all", "two of them", "one beside", "none", "one that is not seen"],
)
def test_held_out_frames_are_sought_in_few_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labelled: Iterable[int], found: int, most_reads: int
) -> None:
    monkeypatch.setattr(PartlyLabelled, "labelled", frozenset(labelled))
    write_source(PartlyLabelled(sizes=(8,) * 160), tmp_path, "eval")
    source = ShardedSource.open(str(tmp_path))
    reads: list[int] = []
    read_clip = ShardedSource.read_clip
    monkeypatch.setattr(
        ShardedSource,
        "read_clip",
        lambda self, split, clip, columns: reads.append(clip) or read_clip(self, split, clip, columns),
    )
    frames = list(held_out_frames(source, 3))
    assert len({(frame.scene, frame.frame) for frame in frames}) == len(frames) == found
    assert len(reads) <= most_reads < source.clips(Split.EVAL)
