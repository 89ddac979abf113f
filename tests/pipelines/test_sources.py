"""What is refused before anything is trained on."""

from pathlib import Path

import pytest

from pipelines.sources import require_labels
from tests.stream_fixtures import FRAMES, PAIR_TASK, TASK, builder_of, damage_clip, write_made_source
from vlm3.errors import DataError
from vlm3.storage.store import open_store

ALL_UNPOSED = {(0, 0, frame): "unposed" for frame in range(FRAMES)}


def test_pairs_of_a_source_without_poses_are_refused_by_name(tmp_path: Path, tiny_model: Path) -> None:
    source = write_made_source(open_store(str(tmp_path)), "made", 1, 1, ALL_UNPOSED)
    with pytest.raises(DataError, match=r"made/correspondence .* no camera poses: set mixture.weights"):
        require_labels(builder_of([source], tiny_model, tasks=(TASK, PAIR_TASK)).components)
    require_labels(builder_of([source], tiny_model, tasks=(TASK,)).components)


def test_one_frame_without_a_pose_is_no_reason(tmp_path: Path, tiny_model: Path) -> None:
    source = write_made_source(open_store(str(tmp_path)), "made", 1, 1, {(0, 0, 1): "unposed"})
    require_labels(builder_of([source], tiny_model, tasks=(PAIR_TASK,)).components)


def test_a_source_of_single_views_and_posed_scenes_is_none_without_poses(tmp_path: Path, tiny_model: Path) -> None:
    source = write_made_source(open_store(str(tmp_path)), "made", 1, 3, ALL_UNPOSED)
    require_labels(builder_of([source], tiny_model, tasks=(PAIR_TASK,)).components)


def test_a_damaged_clip_is_left_to_the_quarantine(tmp_path: Path, tiny_model: Path) -> None:
    source = write_made_source(open_store(str(tmp_path)), "made", 1, 2)
    damage_clip(tmp_path, 0, 0)
    require_labels(builder_of([source], tiny_model, tasks=(PAIR_TASK,)).components)
