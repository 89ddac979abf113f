"""Every real pack opens, and its items mean what its README says."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from vlm3.asking.items import DepthItem, ObjectItem, PairItem
from vlm3.benchmarks.checking import Checked, check_row
from vlm3.benchmarks.opening import open_benchmark
from vlm3.geometry.rigid import invert
from vlm3.scenes.schema import Scale
from vlm3.tasks.objects.truths import oriented


@pytest.mark.parametrize(
    ("pack", "rows"),
    [
        ("depth_ibims1", 30),
        ("depth_nyu_kitti", 4),
        ("rgbd_7scenes", 40 + 145),
        ("rgbd_hololens", 20 + 21),
        ("pairs_strecha", 5),
        ("poses_fox", 5),
        ("boxes_kitti", 7),
        ("boxes_dgp", 18),
        ("boxes_sunrgbd", 1),
    ],
)
def test_all_rows_are_sound_and_the_same_in_another_process(data_dir: Path, pack: str, rows: int) -> None:
    benchmark = open_benchmark(str(data_dir / pack), pack)
    assert len(benchmark.rows()) == rows
    # Every fourth of the large ones: each image is decoded.
    shown = benchmark.rows()[:: 1 if rows <= 41 else 4]
    checked = Checked.of([check_row(benchmark, row) for row in shown])
    assert not checked.faults and len(checked.rows) >= len(shown) - 3
    copied = pickle.loads(pickle.dumps(benchmark))
    again = open_benchmark(str(data_dir / pack), pack)
    for other in (copied, again):
        assert other.identity() == benchmark.identity()
        for mine, theirs in zip(benchmark.read(checked.rows[-1]), other.read(checked.rows[-1]), strict=True):
            assert (mine.id, mine.group) == (theirs.id, theirs.group)
            if isinstance(mine, PairItem) and isinstance(theirs, PairItem):
                assert np.array_equal(mine.points2_px, theirs.points2_px, equal_nan=True)


def epipolar_px(item: PairItem) -> np.ndarray:
    """Distance of each point of image 2 from its epipolar line."""
    assert item.cam1_T_cam2 is not None
    seen = np.isfinite(item.points2_px[:, 0])
    cam2_T_cam1 = invert(item.cam1_T_cam2)
    x, y, z = cam2_T_cam1[:3, 3]
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ cam2_T_cam1[:3, :3]
    rays1 = item.frame1.camera.unproject(item.points1_px[seen])
    camera2 = item.frame2.camera
    inverse = np.linalg.inv(np.array([[camera2.fx_px, 0, camera2.cx_px], [0, camera2.fy_px, camera2.cy_px], [0, 0, 1]]))
    lines = rays1 @ essential.T @ inverse
    points2 = np.column_stack([item.points2_px[seen], np.ones(seen.sum())])
    distance: np.ndarray = np.abs((lines * points2).sum(axis=1)) / np.linalg.norm(lines[:, :2], axis=1)
    return distance


def test_surveyed_pairs_keep_to_their_epipolar_lines(data_dir: Path) -> None:
    benchmark = open_benchmark(str(data_dir / "pairs_strecha"), "strecha")
    items = [item for row in benchmark.rows() for item in benchmark.read(row)]
    assert all(isinstance(item, PairItem) and item.frame1.scale is Scale.METRIC for item in items)
    distance = np.concatenate([epipolar_px(item) for item in items if isinstance(item, PairItem)])
    assert len(distance) == 300 and np.median(distance) < 0.2 and np.quantile(distance, 0.95) < 0.7


def test_matches_of_depth_agree_with_the_other_depth_image(data_dir: Path) -> None:
    """Points that are said to be visible have there the depth that they should."""
    benchmark = open_benchmark(str(data_dir / "rgbd_hololens"), "hololens")
    pairs = [item for row in benchmark.rows() for item in benchmark.read(row) if isinstance(item, PairItem)]
    assert len(pairs) == 21 and all(0 < len(item.points1_px) <= 50 for item in pairs)
    agreeing = []
    for item in pairs:
        assert item.cam1_T_cam2 is not None and item.frame2.small_depth is not None
        labels = {(u, v): z for u, v, z in item.frame1.points.tolist()}
        seen = np.isfinite(item.points2_px[:, 0])
        z1 = np.array([labels[u, v] for u, v in item.points1_px[seen].tolist()])
        rays = item.frame1.camera.unproject(item.points1_px[seen])
        z2 = (rays * z1[:, None] - item.cam1_T_cam2[:3, 3]) @ item.cam1_T_cam2[:3, 2]
        depth, camera = item.frame2.small_depth.z_depth_m, item.frame2.camera
        scale = np.array([depth.shape[1] / camera.width_px, depth.shape[0] / camera.height_px])
        u, v = (
            np.rint((item.points2_px[seen] + 0.5) * scale - 0.5).astype(int).clip(0, np.array(depth.shape)[::-1] - 1).T
        )
        agreeing.append(np.abs(z2 / depth[v, u] - 1) < 0.05)
    assert np.concatenate(agreeing).mean() > 0.95


def test_labels_are_those_of_the_file(data_dir: Path) -> None:
    lines = [json.loads(line) for line in (data_dir / "depth_ibims1" / "labels.jsonl").read_text().splitlines()]
    benchmark = open_benchmark(str(data_dir / "depth_ibims1" / "labels.jsonl"), "ibims1")
    for line, row in zip(lines, benchmark.rows(), strict=True):
        (item,) = benchmark.read(row)
        assert isinstance(item, DepthItem)
        assert item.points_px.tolist() == line["pixel_coords"] and item.depth_m == pytest.approx(line["depth"])


@pytest.mark.parametrize("pack", ["boxes_kitti", "boxes_dgp", "boxes_sunrgbd"])
def test_boxes_project_onto_the_regions_that_name_them(data_dir: Path, pack: str) -> None:
    benchmark = open_benchmark(str(data_dir / pack), pack)
    overlaps = []
    for row in benchmark.rows():
        for item in benchmark.read(row):
            assert isinstance(item, ObjectItem) and item.frame.boxes and item.questions is None
            camera = item.frame.camera
            for box in item.frame.boxes:
                corners = oriented(box).corners_m()
                if corners[:, 2].min() <= 0 or box.region_px is None:
                    continue
                pixels = camera.project(corners).clip(0, [camera.width_px - 1, camera.height_px - 1])
                overlaps.append(_iou((*pixels.min(axis=0), *pixels.max(axis=0)), box.region_px))
    assert np.median(overlaps) > 0.85


def _iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)
