"""Pairs in the stream: two images a row, chosen and matched on the fly, replayed to the bit."""

from pathlib import Path

import numpy as np
import pytest

from tests.stream_fixtures import (
    FRAMES,
    PAIR_TASK,
    POSE_TASK,
    TASK,
    builder_of,
    plan_of,
    rows_of,
    write_made_source,
)
from vlm3.asking.references import coordinate
from vlm3.errors import DataError
from vlm3.geometry.camera import Camera
from vlm3.scenes.rows import table_to_frames
from vlm3.storage.store import open_store
from vlm3.stream.quarantine import FaultKind
from vlm3.stream.samples import SampleBuilder
from vlm3.views.samples import PairSample

DEPTH_M = 3.0
"""Of every point of the made frames: planes that face cameras which only move sideways."""


@pytest.fixture
def mixed(tmp_path: Path, tiny_model: Path) -> SampleBuilder:
    """Depth and correspondence on one source."""
    source = write_made_source(open_store(str(tmp_path)), "made", 2, 3)
    return builder_of([source], tiny_model, tasks=(TASK, PAIR_TASK))


def test_components_of_views_and_of_pairs_share_a_stream(mixed: SampleBuilder) -> None:
    plan = plan_of(mixed, [0.5, 0.5])
    rows, faults = rows_of(mixed, plan, 48)
    assert not faults and [row.position for row in rows] == list(range(48))
    assert [len(row.images) for row in rows] == [1 + row.component for row in rows]
    assert sum(row.component for row in rows) == 24
    pairs = [row for row in rows if row.component == 1]
    assert not any(np.array_equal(*row.images) for row in pairs)


def test_points_are_where_the_poses_and_depths_put_them(mixed: SampleBuilder) -> None:
    plan = plan_of(mixed, [0.0, 1.0])
    checked = 0
    for item in mixed.asked(plan, [np.arange(24)]):
        sample = item.sample
        assert isinstance(sample, PairSample) and item.conversation.images == 2
        shift_px = -sample.cam1_T_cam2[0, 3] / DEPTH_M * sample.view1.camera.fx_px
        moved = _principal(sample.view2.camera) - _principal(sample.view1.camera) + (shift_px, 0)
        seen = sample.visible
        assert np.abs(sample.points1_px[seen] + moved - sample.points2_px[seen]).max() < 0.05
        places = [PAIR_TASK.read(turn.answer) for turn in item.conversation.turns]
        assert None not in places
        height, width = sample.view2.image.shape[:2]
        for x, y in (place for place in places if place):
            distance = np.hypot(*(sample.points2_px[seen] - (coordinate(x, width, 100), coordinate(y, height, 100))).T)
            assert distance.min() < 0.01 * max(width, height)
            checked += 1
    assert checked > 24


def _principal(camera: Camera) -> np.ndarray:
    return np.array([camera.cx_px, camera.cy_px])


def test_slots_of_a_visit_show_different_pairs_and_only_their_frames_travel(mixed: SampleBuilder) -> None:
    plan = plan_of(mixed, [0.0, 1.0])
    (parcel,) = mixed.reader.parcels(plan, [np.arange(FRAMES)])
    assert parcel.views.tolist() == [2] * FRAMES and parcel.frames.num_rows == 2 * FRAMES
    assert (parcel.overlap > 0.25).all()
    frames = [frame.frame for frame in table_to_frames(parcel.frames)]
    shown = list(zip(frames[::2], frames[1::2], strict=True))
    assert len(set(shown)) == FRAMES and all(first != second for first, second in shown)


def test_pairs_depend_on_the_position_alone(mixed: SampleBuilder) -> None:
    plan = plan_of(mixed, [0.5, 0.5])
    whole, _ = rows_of(mixed, plan, 40, parcel=40)
    pieces, _ = rows_of(mixed, plan, 40, parcel=3)
    for one, other in zip(whole, pieces, strict=True):
        assert np.array_equal(one.input_ids, other.input_ids)
        assert all(map(np.array_equal, one.images, other.images))


def test_a_frame_with_a_bad_pose_is_in_no_pair(tmp_path: Path, tiny_model: Path) -> None:
    source = write_made_source(open_store(str(tmp_path)), "made", 1, 2, {(0, 1, 2): "pose"})
    builder = builder_of([source], tiny_model, tasks=(PAIR_TASK,))
    (parcel,) = builder.reader.parcels(plan_of(builder, [1.0]), [np.arange(40)])
    shown = {(frame.scene, frame.frame) for frame in table_to_frames(parcel.frames)}
    assert len(shown) == 2 * FRAMES - 1 and ("scene-0-1", "0002") not in shown and not parcel.faults


def test_frames_without_depth_are_in_no_pair_that_needs_points(tmp_path: Path, tiny_model: Path) -> None:
    flat = {(0, clip, frame): "flat" for clip in range(2) for frame in (0, 2)}
    source = write_made_source(open_store(str(tmp_path)), "made", 1, 2, flat)
    builder = builder_of([source], tiny_model, tasks=(PAIR_TASK,))
    (parcel,) = builder.reader.parcels(plan_of(builder, [1.0]), [np.arange(40)])
    assert {frame.frame for frame in table_to_frames(parcel.frames)} == {"0001", "0003"} and not parcel.faults


def test_a_pair_with_a_damaged_image_is_named_and_replaced(tmp_path: Path, tiny_model: Path) -> None:
    source = write_made_source(open_store(str(tmp_path)), "made", 1, 3, {(0, 1, 2): "image"})
    builder = builder_of([source], tiny_model, tasks=(PAIR_TASK,))
    rows, faults = rows_of(builder, plan_of(builder, [1.0]), 36)
    assert [row.position for row in rows] == list(range(36)) and all(len(row.images) == 2 for row in rows)
    assert {fault.item for fault in faults} == {"made/scene-0-1/0002"}
    assert {fault.kind for fault in faults} == {FaultKind.IMAGE}
    assert {row.position for row in rows if row.attempt} == {fault.position for fault in faults}


def test_a_clip_without_pairs_is_named_and_replaced_and_a_source_without_any_stops(
    tmp_path: Path, tiny_model: Path
) -> None:
    lonely = {(0, 1, frame): "pose" for frame in range(1, FRAMES)}
    source = write_made_source(open_store(str(tmp_path / "some")), "made", 1, 2, lonely)
    builder = builder_of([source], tiny_model, tasks=(PAIR_TASK,))
    plan = plan_of(builder, [1.0])
    rows, faults = rows_of(builder, plan, 8)
    hit = {p for p in range(8) if plan.sample(p).clip == 1}
    assert {fault.position for fault in faults} == hit == {row.position for row in rows if row.attempt}
    assert {fault.item for fault in faults} == {"clip 1"} and "no two frames" in faults[0].reason
    none = lonely | {(0, 0, frame): "pose" for frame in range(1, FRAMES)}
    source = write_made_source(open_store(str(tmp_path / "none")), "made", 1, 2, none)
    builder = builder_of([source], tiny_model, tasks=(PAIR_TASK,))
    with pytest.raises(DataError, match=r"9 samples in a row of made/correspondence are bad.*no two frames"):
        rows_of(builder, plan_of(builder, [1.0]), 1)


def test_poses_need_no_depth(tmp_path: Path, tiny_model: Path) -> None:
    flat = {(0, 0, frame): "flat" for frame in range(FRAMES)}
    source = write_made_source(open_store(str(tmp_path)), "made", 1, 1, flat)
    builder = builder_of([source], tiny_model, tasks=(POSE_TASK,))
    rows, faults = rows_of(builder, plan_of(builder, [1.0]), 8)
    assert not faults and all(len(row.images) == 2 for row in rows)
    matched = builder_of([source], tiny_model, tasks=(PAIR_TASK,))
    with pytest.raises(DataError, match="no two frames"):
        rows_of(matched, plan_of(matched, [1.0]), 1)
