"""RGB-D folders: what real frames become, and what hostile indices cannot do."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vlm3.errors import DataError
from vlm3.geometry.depth import DepthKind
from vlm3.geometry.rigid import check_rigid, relative, transform
from vlm3.scenes.checks import check_frame
from vlm3.scenes.protocol import Rejection
from vlm3.scenes.schema import Frame, Scale
from vlm3.sources.reader import open_reader

WIDTH, HEIGHT = 40, 30
IDENTITY = np.eye(4).tolist()
Dataset = Callable[..., Path]


def png(pixels: NDArray[Any]) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def entry(name: str, **changes: Any) -> dict[str, Any]:
    frame = {"id": name, "image": "color.png", "depth": "depth.png", "width": WIDTH, "height": HEIGHT}
    frame |= {"K": [40, 40.5, 19.5, 14.5], "T_world_cam": IDENTITY} | changes
    return {key: value for key, value in frame.items() if value is not None}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Writes a folder of the given entries, with one image and a depth image of 2000 units."""
    folder = tmp_path / "house"
    folder.mkdir()
    (folder / "color.png").write_bytes(png(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)))
    (folder / "depth.png").write_bytes(png(np.full((HEIGHT, WIDTH), 2000, np.uint16)))

    def write(*entries: Any, **files: bytes) -> Path:
        (folder / "frames.json").write_text(json.dumps({"frames": entries}))
        for name, data in files.items():
            (folder / f"{name}.png").write_bytes(data)
        return folder

    return write


def read(folder: Path) -> list[Frame | Rejection]:
    reader = open_reader(folder)
    return [item for scene in reader.scenes() for item in reader.frames(scene)]


def frames(folder: Path) -> list[Frame]:
    items = read(folder)
    assert [item for item in items if isinstance(item, Rejection)] == []
    return [item for item in items if isinstance(item, Frame)]


def inlier_shares(frames: list[Frame]) -> tuple[float, float, int]:
    """Shares of points that land within 5 % and 2 % of the surface in another map, and of how many."""
    within5 = within2 = seen = 0
    for first in frames:
        for second in frames:
            if first is second or first.world_T_cam is None or second.world_T_cam is None or second.full_depth is None:
                continue
            there_m = cv2.imdecode(np.frombuffer(second.full_depth.encoded_png, np.uint8), cv2.IMREAD_UNCHANGED)
            points = first.camera.unproject(first.points[:, :2]) * first.points[:, 2:]
            moved = transform(relative(second.world_T_cam, first.world_T_cam), points)
            pixels = second.camera.project(moved)
            with np.errstate(invalid="ignore"):
                u, v = np.rint(pixels).T
                inside = (u >= 0) & (u < second.camera.width_px) & (v >= 0) & (v < second.camera.height_px)
            depth_m = there_m[v[inside].astype(int), u[inside].astype(int)] * second.full_depth.metres_per_unit
            error = (moved[inside, 2] - depth_m)[depth_m > 0] / depth_m[depth_m > 0]
            # What lies far behind the other view's surface is hidden there.
            error = error[error < 0.15]
            seen += len(error)
            within5 += np.count_nonzero(np.abs(error) < 0.05)
            within2 += np.count_nonzero(np.abs(error) < 0.02)
    return within5 / seen, within2 / seen, seen


@pytest.mark.parametrize(
    ("name", "count", "least5", "least2"), [("rgbd_7scenes", 40, 0.88, 0.80), ("rgbd_hololens", 20, 0.93, 0.88)]
)
def test_real_points_of_one_view_land_on_the_surfaces_of_its_neighbours(
    data_dir: Path, name: str, count: int, least5: float, least2: float
) -> None:
    scene = frames(data_dir / name)
    assert len(scene) == count
    # Pairs as near as the READMEs': consecutive frames.
    totals = np.array([inlier_shares(scene[i : i + 2]) for i in range(count - 1)])
    share5, share2 = (totals[:, :2] * totals[:, 2:]).sum(axis=0) / totals[:, 2].sum()
    assert totals[:, 2].sum() > 10_000
    assert share5 > least5
    assert share2 > least2


@pytest.mark.parametrize("name", ["rgbd_7scenes", "rgbd_hololens", "depth_nyu_kitti"])
def test_real_frames_pass_all_checks(data_dir: Path, name: str) -> None:
    for frame in frames(data_dir / name):
        assert check_frame(frame) is None
        assert (frame.scale, frame.depth_kind, len(frame.points)) == (Scale.METRIC, DepthKind.Z, 1024)
        assert frame.small_depth is not None
        assert 200 <= max(frame.small_depth.z_depth_m.shape) <= 224


def test_depth_in_other_units_becomes_metres(data_dir: Path) -> None:
    index = json.loads((data_dir / "depth_nyu_kitti" / "frames.json").read_text())
    said = {item["id"]: item["median_m"] for item in index["frames"]}
    read_m = {frame.frame: float(np.median(frame.points[:, 2])) for frame in frames(data_dir / "depth_nyu_kitti")}
    assert read_m == pytest.approx(said, rel=0.1)


def test_images_without_poses_are_scenes_of_their_own(data_dir: Path) -> None:
    reader = open_reader(data_dir / "depth_nyu_kitti")
    assert not reader.posed
    assert len(reader.scenes()) == 4
    assert all(frame.world_T_cam is None for frame in frames(data_dir / "depth_nyu_kitti"))


def test_a_posed_folder_is_one_scene_called_as_the_folder(dataset: Dataset) -> None:
    reader = open_reader(dataset(entry("a"), entry("b")))
    assert reader.posed
    assert reader.scenes() == ("house",)


def test_frames_that_name_their_scene_are_read_scene_by_scene(dataset: Dataset) -> None:
    reader = open_reader(dataset(entry("a", scene="x"), entry("b", scene="y"), entry("c", scene="x")))
    assert reader.scenes() == ("x", "y")
    assert [item.frame for item in reader.frames("x")] == ["a", "c"]


def test_labels_hold_exactly_what_the_depth_image_says(dataset: Dataset) -> None:
    units = np.random.default_rng(0).integers(1, 65535, (HEIGHT, WIDTH)).astype(np.uint16)
    (frame,) = frames(dataset(entry("a", depth_scale=500), depth=png(units)))
    u, v = frame.points[:, 0].astype(int), frame.points[:, 1].astype(int)
    np.testing.assert_allclose(frame.points[:, 2], units[v, u] / 500, rtol=1e-6)
    assert len(np.unique(v * WIDTH + u)) == 1024


def test_depth_beyond_the_reach_of_the_lens_gives_no_label_and_the_frame_stays(dataset: Dataset) -> None:
    # This lens bends no ray farther from the centre than 0.385 focal lengths, 15 px.
    (frame,) = frames(dataset(entry("a", distortion_k1k2p1p2=[-1.0, 0.0, 0.0, 0.0])))
    assert 0 < len(frame.points) < WIDTH * HEIGHT
    assert check_frame(frame) is None


def test_zero_and_the_largest_value_are_no_depth(dataset: Dataset) -> None:
    units = np.full((HEIGHT, WIDTH), 65535, np.uint16)
    units[:10], units[10:12] = 0, 1500
    (frame,) = frames(dataset(entry("a"), depth=png(units)))
    assert len(frame.points) == 2 * WIDTH
    assert frame.points[:, 2] == pytest.approx(1.5)
    assert frame.small_depth is not None
    assert np.isnan(frame.small_depth.z_depth_m).sum() == (HEIGHT - 2) * WIDTH
    assert frame.full_depth is not None
    stored = cv2.imdecode(np.frombuffer(frame.full_depth.encoded_png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(stored)) == {0, 1500}


def test_labels_depend_on_source_scene_and_frame_alone(dataset: Dataset) -> None:
    first, second = frames(dataset(entry("a"), entry("b")))
    again, _ = frames(dataset(entry("a"), entry("c")))
    np.testing.assert_array_equal(first.points, again.points)
    assert not np.array_equal(first.points, second.points)
    other = next(open_reader(dataset(entry("a")), "other").frames("house"))
    assert isinstance(other, Frame)
    assert not np.array_equal(first.points, other.points)


def test_a_readers_copy_in_another_process_reads_the_same(dataset: Dataset) -> None:
    reader = open_reader(dataset(entry("a")))
    copy = pickle.loads(pickle.dumps(reader))
    (one,), (other,) = reader.frames("house"), copy.frames("house")
    assert isinstance(one, Frame)
    assert isinstance(other, Frame)
    np.testing.assert_array_equal(one.points, other.points)
    assert one.encoded_image == other.encoded_image


def test_identity_changes_with_the_index_and_with_the_files_it_names(dataset: Dataset) -> None:
    folder = dataset(entry("a"))
    before = open_reader(folder).identity()
    assert open_reader(folder).identity() == before
    assert open_reader(dataset(entry("b"))).identity() != before
    assert open_reader(dataset(entry("a"), depth=png(np.ones((HEIGHT, WIDTH), np.uint16)))).identity() != before


def test_poses_that_were_rounded_become_rotations(data_dir: Path) -> None:
    for frame in frames(data_dir / "rgbd_hololens"):
        assert frame.world_T_cam is not None
        assert check_rigid(frame.world_T_cam, tolerance=1e-12) is None


HOSTILE: dict[str, tuple[Any, str]] = {
    "absolute path": (entry("bad", image="/etc/passwd"), "leaves its folder"),
    "path that climbs": (entry("bad", depth="../house/depth.png"), "leaves its folder"),
    "link out of the folder": (entry("bad", image="escape.png"), "leaves its folder"),
    "loop of links": (entry("bad", image="loop.png"), "loop.png"),
    "folder for an image": (entry("bad", image="."), "no such file"),
    "null byte": (entry("bad", image="color\0.png"), "path"),
    "half a character": (entry("bad", image="\ud800.png"), ""),
    "endless path": (entry("bad", image="x" * 5000), "xxx"),
    "missing image": (entry("bad", image="none.png"), "no such file"),
    "pipe": (entry("bad", depth="pipe.png"), "no such file"),
    "no image": (entry("bad", image=None), "image"),
    "no depth": (entry("bad", depth=None), "depth"),
    "no intrinsics": (entry("bad", K=None), "K"),
    "three intrinsics": (entry("bad", K=[1, 2, 3]), "K"),
    "intrinsics in words": (entry("bad", K=["wide", 2, 3, 4]), ""),
    "endless number": (entry("bad", K=[10**400, 2, 3, 4]), ""),
    "size of another image": (entry("bad", width=WIDTH + 1), f"{WIDTH}x{HEIGHT}"),
    "pose of two rows": (entry("bad", T_world_cam=[[1, 0, 0, 0], [0, 1, 0, 0]]), ""),
    "pose of ragged rows": (entry("bad", T_world_cam=[[1, 0], [0, 1, 0, 0]]), ""),
    "no pose": (entry("bad", T_world_cam=None), "T_world_cam"),
    "scale of zero": (entry("bad", depth_scale=0), "depth_scale"),
    "scale NaN": (entry("bad", depth_scale=float("nan")), "depth_scale"),
    "colour for depth": (entry("bad", depth="color.png"), "16"),
    "text for depth": (entry("bad", depth="frames.json"), "depth"),
    "cut depth": (entry("bad", depth="cut.png"), "depth"),
    "bomb": (entry("bad", depth="bomb.png"), "px"),
    "a number": (7, ""),
    "a list": ([entry("bad")], ""),
    "nothing": (None, ""),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_bad_frame_is_rejected_with_its_reason_and_the_others_are_read(dataset: Dataset, kind: str) -> None:
    bad, reason = HOSTILE[kind]
    folder = dataset(entry("good"), bad, entry("also good"))
    (folder / "escape.png").symlink_to("/etc/passwd")
    (folder / "loop.png").symlink_to("loop.png")
    os.mkfifo(folder / "pipe.png")
    depth = (folder / "depth.png").read_bytes()
    (folder / "cut.png").write_bytes(depth[: len(depth) // 2])
    # A header that promises 3.6 gigapixels.
    (folder / "bomb.png").write_bytes(depth[:16] + (60000).to_bytes(4, "big") * 2 + depth[24:])
    judged = [check_frame(item) if isinstance(item, Frame) else item for item in read(folder)]
    assert judged.count(None) == 2
    (rejection,) = [item for item in judged if item is not None]
    assert reason in rejection.reason
    assert len(rejection.reason) < 1000
    assert (rejection.source, rejection.frame) == ("house", "bad" if isinstance(bad, dict) else "number-1")


MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "cut": b"{",
    "a list": b"[]",
    "no frames": b"{}",
    "empty frames": b'{"frames": []}',
    "frames not a list": b'{"frames": 3}',
    "frames not mappings": b'{"frames": [1]}',
    "no depth anywhere": b'{"frames": [{"image": "x"}]}',
    "nested": b"[" * 100_000,
    "not UTF-8": b'{"frames": [{"depth": "\xe9"}]}',
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_index_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    (tmp_path / "frames.json").write_bytes(MALFORMED[kind])
    with pytest.raises(DataError, match=r"frames\.json"):
        open_reader(tmp_path)
