"""Bad rows of every kind of benchmark are named, counted, and end nothing."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vlm3.asking.spec import AskSpec
from vlm3.asking.text_model import ImageBounds
from vlm3.benchmarks.checking import BadRow, Checked, check_row, refusal
from vlm3.benchmarks.opening import open_benchmark
from vlm3.errors import DataError
from vlm3.evaluation.answering import check_shown
from vlm3.tasks.spec_file import spec_of_every_task

EYE = np.eye(4).tolist()
MOVED = [[1.0, 0, 0, -0.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
K = [60.0, 60.0, 31.5, 23.5]
Index = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        image = np.random.default_rng(ord(name)).integers(0, 255, (48, 64, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
        cv2.imwrite(str(tmp_path / f"{name}-depth.png"), np.full((48, 64), 2000, np.uint16))
    return tmp_path


def lines() -> list[Index]:
    row = {"intrinsics": [60, 60, 31.5, 23.5, 64, 48], "pixel_coords": [[1, 2], [60, 40]], "depth": [1.5, 2.5]}
    return [{"image": f"{name}.png"} | row for name in ("a", "b")]


def pairs() -> Index:
    images = [{"image": f"{n}.png", "width": 64, "height": 48, "K": K, "T_world_cam": EYE} for n in ("a", "b")]
    images[1]["T_world_cam"] = np.linalg.inv(MOVED).tolist()
    pair = {"a": "a.png", "b": "b.png", "T_b_from_a": MOVED, "correspondences": [[1, 2, 3, 4, 9, 9]], "scale": "metric"}
    return {"images": images, "pairs": [pair, dict(pair)]}


def boxes() -> Index:
    thing = {
        "category": "chair", "center_cam_m": [0, 0, 3], "size_lwh_m": [1, 1, 1], "R_cam_obj": np.eye(3).tolist(),
        "bbox2d": [10, 10, 40, 40],
    }  # fmt: skip
    frame = {"image": "a.png", "width": 64, "height": 48, "K": K}
    return {"frames": [frame | {"id": name, "objects": [dict(thing)]} for name in ("one", "two")]}


def rgbd() -> Index:
    frames = [
        {"id": name, "image": f"{name}.png", "depth": f"{name}-depth.png", "K": K, "T_world_cam": EYE}
        for name in ("a", "b")
    ]
    frames[1]["T_world_cam"] = np.linalg.inv(MOVED).tolist()
    return {"frames": frames, "pairs": [{"a": "a", "b": "b", "T_b_from_a": MOVED}]}


def found(folder: Path, index: Any) -> list[str | BadRow | None]:
    """What becomes of the rows of an index, whichever kind it is."""
    if isinstance(index, list):
        (folder / "labels.jsonl").write_text("\n".join(map(json.dumps, index)))
    else:
        name = "pairs" if "images" in index else "boxes" if "objects" in index["frames"][0] else "frames"
        (folder / f"{name}.json").write_text(json.dumps(index))
    benchmark = open_benchmark(str(folder), "made")
    return [check_row(benchmark, row) for row in benchmark.rows()]


def changed(index: Any, path: tuple[Any, ...], value: Any) -> Any:
    place = index
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return index


@pytest.mark.parametrize(
    ("make", "rows"),
    [(lines, ["a", "b"]), (pairs, ["00000-a-b", "00001-a-b"]), (boxes, ["one", "two"]), (rgbd, ["a", "b", "a-b"])],
)
def test_sound_rows_are_kept(folder: Path, make: Callable[[], Any], rows: list[str]) -> None:
    assert found(folder, make()) == rows


NAN = float("nan")
TURNED = np.diag([1.0, 1.0, -1.0, 1.0]).tolist()


@pytest.mark.parametrize(
    ("make", "path", "value", "message"),
    [
        (lines, (1, "image"), "c.png", "labels.jsonl line 2: .*c.png: no such file"),
        (lines, (1, "image"), "../c.png", "leaves its folder"),
        (lines, (1, "intrinsics"), [60, 60, 31.5, 23.5, 65, 48], "line 2: image is 64x48 px, its camera says 65x48"),
        (lines, (1, "pixel_coords"), [[1, 2], [64, 40]], "line 2: 1 of 2 labels .* outside the image"),
        (lines, (1, "depth"), [1.5, NAN], "line 2: 1 of 2 labels .* out of the range of depth"),
        (lines, (1, "depth"), [1.5, -1], "out of the range of depth"),
        (lines, (1, "depth"), [1.5], "2 pixel_coords but 1 depths"),
        (pairs, ("pairs", 1, "T_b_from_a"), TURNED, "T_b_from_a: not rigid"),
        (pairs, ("pairs", 1, "T_b_from_a"), EYE, "differs from what the poses of its frames give"),
        (pairs, ("pairs", 1, "T_b_from_a"), EYE[:3], "expected 4 rows"),
        (pairs, ("pairs", 1, "b"), "c.png", "'c.png' is not listed"),
        (pairs, ("pairs", 1, "correspondences"), [[1, 2, 64, 4]], "1 of 1 correspondences lie outside image b.png"),
        (pairs, ("pairs", 1, "correspondences"), [[NAN, 2, 6, 4]], "outside image a.png"),
        (pairs, ("pairs", 1, "scale"), "metres", "expected metric or relative"),
        (boxes, ("frames", 1, "image"), "c.png", "no such file"),
        (boxes, ("frames", 1, "width"), 65, "image is 64x48 px"),
        (boxes, ("frames", 1, "objects", 0, "center_cam_m"), [0, NAN, 3], "hold NaN"),
        (boxes, ("frames", 1, "objects", 0, "size_lwh_m"), [0, 1, 1], "sizes must be positive"),
        (boxes, ("frames", 1, "objects", 0, "R_cam_obj"), np.diag([1, 1, -1]).tolist(), "R_cam_obj is no rotation"),
        (boxes, ("frames", 1, "objects", 0, "bbox2d"), [70, 1, 90, 4], "region does not lie in the image"),
        (boxes, ("frames", 1, "K"), [0, 60, 31.5, 23.5], "focal lengths must be positive"),
    ],
)
def test_a_bad_row_is_named_and_the_other_one_kept(
    folder: Path, make: Callable[[], Any], path: tuple[Any, ...], value: Any, message: str
) -> None:
    first, second = found(folder, changed(make(), path, value))
    assert isinstance(first, str) and isinstance(second, BadRow)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(second.reason)


def test_a_bad_frame_is_bad_in_its_pairs_too(folder: Path) -> None:
    _, second, pair = found(folder, changed(rgbd(), ("frames", 1, "T_world_cam"), TURNED))
    assert (
        isinstance(second, BadRow) and isinstance(pair, BadRow) and pair.reason.startswith("frame b: pose is not rigid")
    )
    _, second, pair = found(folder, changed(rgbd(), ("frames", 1, "depth"), "a.png"))
    assert isinstance(second, BadRow) and "16 bits" in second.reason and isinstance(pair, BadRow)


def test_frames_of_one_name_and_pairs_across_scenes_are_refused(folder: Path) -> None:
    twice = changed(rgbd(), ("frames", 1, "id"), "a")
    with pytest.raises(DataError, match=r"frames\.0 and frames\.1 of one scene are both called 'a'"):
        found(folder, twice)
    apart = changed(changed(rgbd(), ("frames", 0, "scene"), "one"), ("frames", 1, "scene"), "two")
    with pytest.raises(DataError, match="a and b are of different scenes"):
        found(folder, apart)


def test_following_frames_are_of_one_scene(folder: Path) -> None:
    index = rgbd()
    for number, frame in enumerate(index["frames"] * 2):
        frame.pop("depth", None)
        frame["scene"] = f"scene-{number % 2}"
    index["frames"] = [dict(frame, width=64, height=48) for frame in index["frames"] for _ in range(2)]
    for number, frame in enumerate(index["frames"]):
        frame["id"] = f"{number}"
    index.pop("pairs")
    assert found(folder, index) == ["00000-a-a", "00001-b-b"]


def test_a_region_of_which_nothing_is_in_the_image_is_left_out(folder: Path) -> None:
    assert found(folder, changed(boxes(), ("frames", 1, "objects", 0, "bbox2d"), [63.4, 10, 70, 40])) == ["one", None]


def test_a_row_without_a_question_is_neither_good_nor_bad(folder: Path) -> None:
    assert found(folder, changed(boxes(), ("frames", 1, "objects", 0, "bbox2d"), None)) == ["one", None]


def test_a_refusal_counts_all_and_shows_the_first_ones() -> None:
    checked = Checked.of(["a", None, *(BadRow(f"r{n}", "broken") for n in range(7)), "b"])
    assert checked.rows == ("a", "b")
    text = refusal("set", checked)
    assert "set: 7 of 9 rows are bad: r0: broken; " in text and "r4" in text and "r5" not in text
    assert "and 2 more" in text and "--allow-skip" in text


def test_a_row_that_reads_and_cannot_be_shown_is_a_bad_row_like_any_other(folder: Path) -> None:
    told = lines()
    told[1]["intrinsics"] = [60, 60, 31.5, 23.5, 64, 48]
    told[0]["intrinsics"] = [0.5, 0.5, 31.5, 23.5, 64, 48]
    (folder / "labels.jsonl").write_text("\n".join(map(json.dumps, told)))
    benchmark = open_benchmark(str(folder), None)
    shown = partial(check_shown, ask=spec_of_every_task(), bounds=ImageBounds(32, 1024, 1 << 24))
    found = [check_row(benchmark, row, shown) for row in benchmark.rows()]
    assert isinstance(found[0], BadRow) and "scaled up 2000 times" in found[0].reason and found[1] == "b"
    assert [check_row(benchmark, row) for row in benchmark.rows()] == ["a", "b"], "it reads"
    unasked = partial(check_shown, ask=AskSpec(), bounds=ImageBounds(32, 1024, 1 << 24))
    assert [check_row(benchmark, row, unasked) for row in benchmark.rows()] == ["a", "b"], "nobody is shown it"


def test_posed_images_of_scenes_of_one_are_refused_when_they_are_opened(folder: Path) -> None:
    frames = [
        {"image": f"{name}.png", "K": K, "width": 64, "height": 48, "T_world_cam": EYE, "scene": name} for name in "ab"
    ]
    (folder / "frames.json").write_text(json.dumps({"frames": frames}))
    with pytest.raises(DataError, match="expected a scene with at least two frames, found 2 scenes of one"):
        open_benchmark(str(folder), "posed")
