"""Object questions in the stream: only of frames that show a box, beside components that read other columns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.sources import require_labels
from tests.stream_fixtures import FRAMES, PAIR_TASK, POLICY, TASK, builder_of, plan_of, rows_of, write_made_source
from vlm3.errors import DataError
from vlm3.storage.store import open_store
from vlm3.stream.samples import SampleBuilder
from vlm3.tasks.objects.task import ObjectsTask, ObjectsTaskConfig
from vlm3.views.samples import ViewSample
from vlm3.views.unify import UnifyPolicy

OBJECTS = ObjectsTask(ObjectsTaskConfig(templates="compact-1", reference_range=100))


def made(
    folder: Path, kinds: tuple[str, ...], model: Path, *tasks: object, policy: UnifyPolicy = POLICY
) -> SampleBuilder:
    """Two clips whose frames are of these kinds."""
    bad = {(0, clip, frame): kind for clip in range(2) for frame, kind in enumerate(kinds)}
    source = write_made_source(open_store(str(folder)), "made", 1, 2, bad)
    return builder_of([source], model, tasks=tasks, policy=policy)  # type: ignore[arg-type]


def test_depth_pairs_and_objects_share_a_stream(tmp_path: Path, tiny_model: Path) -> None:
    builder = made(tmp_path, ("boxed",) * FRAMES, tiny_model, TASK, PAIR_TASK, OBJECTS)
    rows, faults = rows_of(builder, plan_of(builder, [0.4, 0.2, 0.4]), 60)
    assert not faults and [row.position for row in rows] == list(range(60))
    assert np.bincount([row.component for row in rows]).tolist() == [24, 12, 24]
    assert all(row.loss_mask.any() for row in rows)


def test_only_frames_that_show_a_box_once_they_are_cut_are_asked_about(tmp_path: Path, tiny_model: Path) -> None:
    # Four tokens: 43 × 31 px are cut to 32 × 16 about the middle.
    tight = replace(POLICY, max_pixels=4 * POLICY.token_px**2)
    builder = made(tmp_path, ("boxless", "cut", "boxed", "boxed"), tiny_model, OBJECTS, policy=tight)
    plan = plan_of(builder, [1.0])
    frames = set()
    for item in builder.asked(plan, [np.arange(16)]):
        assert isinstance(item.sample, ViewSample) and len(item.sample.boxes) == 1
        frames.add(item.sample.provenance.frame)
        for turn in item.conversation.turns:
            # The box is 1 m wide and tall, at 3 m; it is named where the unified image shows it.
            assert turn.question.startswith(("metres wide", "metres tall")) and turn.answer == "1.00"
    assert frames == {"0002", "0003"}
    assert not rows_of(builder, plan, 16)[1]


def test_a_source_without_boxes_is_refused_by_name(tmp_path: Path, tiny_model: Path) -> None:
    builder = made(tmp_path, ("boxless",) * FRAMES, tiny_model, OBJECTS)
    with pytest.raises(DataError, match=r"made/objects asks about objects, but frames of source 'made' have no boxes"):
        require_labels(builder.components)
    with pytest.raises(DataError, match="no frame of the clip has a box"):
        rows_of(builder, plan_of(builder, [1.0]), 4)
