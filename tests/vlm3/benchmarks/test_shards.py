"""The held-out split of an ingested source as a benchmark."""

from pathlib import Path

import numpy as np
import pytest

from tests.broken import write_source
from vlm3.asking.items import DepthItem, Item, ObjectItem, PairItem
from vlm3.benchmarks.checking import Checked, check_row
from vlm3.benchmarks.items import MOST_POINTS
from vlm3.benchmarks.opening import open_benchmark, open_benchmarks
from vlm3.benchmarks.shards import HeldOut
from vlm3.errors import ConfigError, DataError
from vlm3.scenes.sharded import ShardedSource
from vlm3.sources.rooms.reader import RoomsConfig, RoomsReader
from vlm3.storage.split import Split


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rooms, all of them held out."""
    target = tmp_path_factory.mktemp("sources") / "rooms"
    write_source(RoomsReader(RoomsConfig(scenes=6, frames_per_scene=6, extra_furniture=12)), target, role="eval")
    return target


@pytest.fixture(scope="module")
def items(folder: Path) -> list[Item]:
    benchmark = open_benchmark(str(folder), "rooms")
    checked = Checked.of([check_row(benchmark, row) for row in benchmark.rows()])
    assert not checked.faults
    return [item for row in checked.rows for item in benchmark.read(row)]


def test_every_task_is_asked_about_the_held_out_frames(folder: Path, items: list[Item]) -> None:
    counts = {kind: sum(isinstance(item, kind) for item in items) for kind in (DepthItem, PairItem, ObjectItem)}
    source = ShardedSource.open(str(folder))
    assert counts[DepthItem] == source.frames(Split.EVAL) == 36
    assert counts[PairItem] >= 6 and counts[ObjectItem] >= 25
    assert len({item.id for item in items if isinstance(item, DepthItem)}) == 36
    assert all(item.group == item.id for item in items), "six scenes are too few for the bootstrap"


def test_many_scenes_are_what_the_bootstrap_draws(tmp_path: Path) -> None:
    write_source(RoomsReader(RoomsConfig(scenes=12, frames_per_scene=2)), tmp_path / "rooms", role="eval")
    benchmark = open_benchmark(str(tmp_path / "rooms"), "rooms")
    groups = {item.group for row in benchmark.rows() for item in benchmark.read(row)}
    assert groups == {f"room-{number:06d}" for number in range(12)}


def test_pairs_have_pose_and_places_and_views_have_labels(items: list[Item]) -> None:
    for item in items:
        if isinstance(item, PairItem):
            assert item.cam1_T_cam2 is not None and item.frame1.frame != item.frame2.frame
            assert np.isfinite(item.points2_px[:, 0]).any()
        if isinstance(item, DepthItem):
            assert len(item.depth_m) == MOST_POINTS and (item.depth_m > 0).all()
        if isinstance(item, ObjectItem):
            assert item.frame.boxes and item.questions is None


def test_a_source_that_holds_nothing_out_is_refused(tmp_path: Path) -> None:
    write_source(RoomsReader(RoomsConfig(scenes=2, frames_per_scene=2)), tmp_path / "all", heldout_share=0.0)
    with pytest.raises(DataError, match="has no held-out scene"):
        open_benchmark(str(tmp_path / "all"), "all")


def test_benchmarks_get_names_of_their_own(folder: Path, tmp_path: Path) -> None:
    write_source(RoomsReader(RoomsConfig(scenes=2, frames_per_scene=2)), tmp_path / "rooms", role="eval")
    found = open_benchmarks([str(folder), str(tmp_path / "rooms")], None)
    assert [benchmark.name for benchmark in found] == ["rooms", "rooms-2"]
    assert all(isinstance(benchmark, HeldOut) for benchmark in found)
    with pytest.raises(ConfigError, match="the same benchmark twice"):
        open_benchmarks([str(folder), str(folder)], None)


def test_what_is_no_benchmark_is_told_what_is(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match="SpatialRGPT-Bench"):
            open_benchmark(str(path), "x")
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(DataError, match="expected a folder with"):
        open_benchmark(str(tmp_path / "x.txt"), "x")
