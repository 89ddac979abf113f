"""Positions become rows; bad samples are named and replaced, and no good one is lost."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.stream_fixtures import FRAMES, SPOILED, builder_of, damage_clip, plan_of, rows_of, write_made_source
from vlm3.errors import DataError
from vlm3.storage.failures import StorageError
from vlm3.storage.split import Split
from vlm3.storage.store import open_store
from vlm3.stream.quarantine import FaultKind
from vlm3.tasks.depth_marker.task import MarkerDepthTask, MarkerDepthTaskConfig

SHARDS, CLIPS = 5, 5
ELEMENTS = SHARDS * CLIPS * FRAMES


@pytest.mark.parametrize(
    ("way", "kind"),
    [
        ("image", FaultKind.IMAGE),
        ("bomb", FaultKind.IMAGE),
        ("pose", FaultKind.FRAME),
        ("depth", FaultKind.FRAME),
        ("labels", FaultKind.QUESTION),
    ],
)
def test_a_bad_frame_is_named_and_replaced_by_a_good_one(
    tmp_path: Path, tiny_model: Path, way: str, kind: FaultKind
) -> None:
    source = write_made_source(open_store(str(tmp_path)), "made", 1, 3, {(0, 1, 2): way})
    builder = builder_of([source], tiny_model)
    plan = plan_of(builder, [1.0])
    rows, faults = rows_of(builder, plan, 12)
    assert [row.position for row in rows] == list(range(12))
    own = [fault for fault in faults if fault.attempt == 0]
    assert [fault.item for fault in own] == ["made/scene-0-1/0002"] and own[0].kind is kind and own[0].reason
    replaced = [row for row in rows if row.attempt > 0]
    assert [row.position for row in replaced] == [own[0].position]
    assert way in SPOILED


def test_a_damaged_page_spoils_its_clip_and_nothing_else(tmp_path: Path, tiny_model: Path) -> None:
    source = write_made_source(open_store(str(tmp_path)), "made", 2, 3)
    damage_clip(tmp_path, 1, 2)
    builder = builder_of([source], tiny_model)
    plan = plan_of(builder, [1.0])
    rows, faults = rows_of(builder, plan, 24)
    hit = {p for p in range(24) if plan.sample(p).clip == 5}
    assert len(hit) == FRAMES
    assert {fault.position for fault in faults if fault.attempt == 0} == hit
    assert {fault.kind for fault in faults} == {FaultKind.CLIP} and "clip 5" in faults[0].item
    assert {row.position for row in rows if row.attempt} == hit and len(rows) == 24


def test_with_one_percent_bad_no_good_sample_is_lost_and_shares_hold(tmp_path: Path, tiny_model: Path) -> None:
    ways = list(SPOILED)
    bad = {(shard, (2 * shard) % CLIPS, shard % FRAMES): ways[shard] for shard in range(SHARDS)}
    first = write_made_source(open_store(str(tmp_path / "a")), "a", SHARDS, CLIPS, bad)
    second = write_made_source(open_store(str(tmp_path / "b")), "b", SHARDS, CLIPS)
    builder = builder_of([first, second], tiny_model)
    plan = plan_of(builder, [0.5, 0.5])
    stop = 2 * ELEMENTS
    rows, faults = rows_of(builder, plan, stop)
    spoiled = {f"a/scene-{shard}-{clip}/{frame:04d}" for shard, clip, frame in bad}
    assert {fault.item for fault in faults} == spoiled
    own = {fault.position for fault in faults if fault.attempt == 0}
    assert {row.position for row in rows if row.attempt == 0} == set(range(stop)) - own
    assert [row.component for row in rows] == plan.draws(0, stop).component.tolist(), "shares do not move"
    clean = write_made_source(open_store(str(tmp_path / "c")), "a", SHARDS, CLIPS)
    undisturbed, _ = rows_of(builder_of([clean, second], tiny_model), plan, stop)
    for row, same in zip(rows, undisturbed, strict=True):
        if row.position not in own:
            assert np.array_equal(row.images[0], same.images[0]) and np.array_equal(row.input_ids, same.input_ids)


def test_rows_depend_on_the_position_alone(tmp_path: Path, tiny_model: Path) -> None:
    source = write_made_source(open_store(str(tmp_path)), "made", 2, 3, {(0, 1, 2): "image", (1, 0, 0): "pose"})
    plan = plan_of(builder_of([source], tiny_model), [1.0])
    whole, faults = rows_of(builder_of([source], tiny_model, ahead=4), plan, 40, parcel=40)
    pieces, again = rows_of(builder_of([source], tiny_model, ahead=1), plan, 40, parcel=3)
    assert faults == again
    for one, other in zip(whole, pieces, strict=True):
        assert (one.position, one.attempt) == (other.position, other.attempt)
        assert np.array_equal(one.images[0], other.images[0]) and np.array_equal(one.input_ids, other.input_ids)


def test_a_source_with_nothing_good_stops_and_says_what_was_wrong(tmp_path: Path, tiny_model: Path) -> None:
    bad = {(0, clip, frame): "labels" for clip in range(3) for frame in range(FRAMES)}
    source = write_made_source(open_store(str(tmp_path)), "made", 1, 3, bad)
    builder = builder_of([source], tiny_model)
    with pytest.raises(DataError, match=r"position 0: 9 samples in a row of made/depth are bad.*no label"):
        rows_of(builder, plan_of(builder, [1.0]), 1)


def test_a_missing_shard_is_no_bad_sample_it_stops_the_run(tmp_path: Path, tiny_model: Path) -> None:
    source = write_made_source(open_store(str(tmp_path)), "made", 2, 3)
    next(iter(sorted(tmp_path.glob("train-*")))).unlink()
    builder = builder_of([source], tiny_model)
    with pytest.raises(DataError, match=r"train-g0-00000-000\.parquet"):
        rows_of(builder, plan_of(builder, [1.0]), 24)
    assert not issubclass(StorageError, DataError), "a store that fails says nothing about the data"


def test_every_frame_of_a_clip_is_shown_although_a_visit_has_fewer_slots(tmp_path: Path, tiny_model: Path) -> None:
    source = write_made_source(open_store(str(tmp_path)), "made", 1, 3)
    fewer = dataclasses.replace(source, slots=1)
    builder = builder_of([fewer], tiny_model)
    plan = plan_of(builder, [1.0])
    groups = [np.arange(3 * FRAMES)]
    names = {(s.sample.provenance.scene, s.sample.provenance.frame) for s in builder.asked(plan, groups)}
    assert len(names) == 3 * FRAMES, "four epochs of one slot a clip show all four frames"


def test_a_row_that_is_no_frame_is_quarantined(tmp_path: Path, tiny_model: Path) -> None:
    source = write_made_source(open_store(str(tmp_path)), "made", 1, 2)
    builder = builder_of([source], tiny_model)
    plan = plan_of(builder, [1.0])
    (parcel,) = builder.reader.parcels(plan, [np.arange(4)])
    kinds = parcel.frames["depth_kind"].to_pylist()
    column = parcel.frames.column_names.index("depth_kind")
    broken = parcel.frames.set_column(column, "depth_kind", [["z", "unheard of", *kinds[2:]]])
    made = builder.build(dataclasses.replace(parcel, frames=broken), lambda: plan)
    assert [row.position for row in made.rows] == [0, 1, 2, 3]
    (fault,) = [fault for fault in made.faults if fault.attempt == 0]
    assert (fault.position, fault.kind) == (1, FaultKind.FRAME) and "unheard of" in fault.reason


def test_a_clip_is_read_once_in_a_range(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_made_source(open_store(str(tmp_path)), "made", 3, 3)
    builder = builder_of([source], tiny_model)
    reads: list[int] = []
    real = type(source).read_table

    def counted(self: object, split: Split, index: int, columns: tuple[str, ...]) -> object:
        reads.append(index)
        return real(source, split, index, columns)

    monkeypatch.setattr(type(source), "read_table", counted)
    rows_of(builder, plan_of(builder, [1.0]), 36, parcel=7)
    assert sorted(reads) == list(range(9))


def test_images_that_a_task_has_drawn_on_are_those_of_the_row(tmp_path: Path, tiny_model: Path) -> None:
    source = write_made_source(open_store(str(tmp_path)), "made", 1, 2)
    builder = builder_of([source], tiny_model, tasks=(MarkerDepthTask(MarkerDepthTaskConfig(templates="compact-1")),))
    plan = plan_of(builder, [1.0])
    rows, faults = rows_of(builder, plan, 6)
    assert len(rows) == 6 and not faults
    for row, item in zip(rows, builder.asked(plan, [np.arange(6)]), strict=True):
        assert item.conversation.images_shown is not None
        assert np.array_equal(row.images[0], item.conversation.images_shown[0])
        assert not np.array_equal(row.images[0], item.sample.views[0].image)
