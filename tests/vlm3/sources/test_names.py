"""Frames are called by one name each, and no picture is in both splits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vlm3.sources.test_rgbd import Dataset, dataset, entry  # noqa: F401
from vlm3.benchmarks.opening import open_benchmark
from vlm3.errors import DataError
from vlm3.scenes.protocol import Rejection
from vlm3.sources.names import distinct, frame_names, same_pictures
from vlm3.sources.reader import find_sources, open_reader
from vlm3.sources.sharding import IngestConfig, scene_groups

Write = Callable[..., Path]


def names(*images: str, **ids: str) -> tuple[str, ...]:
    entries: list[Any] = [{"image": image} for image in images] + [{"image": "z.png", "id": i} for i in ids.values()]
    return frame_names(entries, ["s"] * len(entries), "f.json: frames")


def test_only_names_that_collide_take_their_path_and_then_their_ending() -> None:
    assert names("rgb/1.jpg", "rgb/2.jpg") == ("1", "2")
    assert names("l/1.jpg", "r/1.jpg", "r/2.jpg") == ("l/1", "r/1", "2")
    assert names("a/1.jpg", "a/1.png") == ("a/1.jpg", "a/1.png")
    assert names("a/1.jpg", first="1") == ("a/1", "1")


def test_one_id_or_one_image_twice_in_a_scene_names_both_entries() -> None:
    with pytest.raises(DataError, match=r"frames\.1 and frames\.2 of one scene are both called 'x'"):
        names("a.jpg", one="x", other="x")
    with pytest.raises(DataError, match=r"frames\.0 and frames\.1 of one scene"):
        names("a.jpg", "./a.jpg")
    twice: list[Any] = [{"id": "x"}, {"id": "x"}]
    assert frame_names(twice, ["s", "t"], "f.json: frames") == ("x", "x")


@given(st.lists(st.from_regex(r"([ab]/)?[ab](\.[jp])?", fullmatch=True), unique=True, max_size=12))
def test_different_paths_never_share_a_name(images: list[str]) -> None:
    assert len(set(names(*images))) == len(images)


@given(st.lists(st.from_regex(r"[ab](~2)?", fullmatch=True), max_size=8))
def test_rows_that_want_one_name_all_get_one(wanted: list[str]) -> None:
    found = distinct(dict(enumerate(wanted)))
    assert len(set(found.values())) == len(wanted)


def test_two_cameras_with_the_same_file_names_are_all_read(dataset: Dataset) -> None:  # noqa: F811
    folder = dataset()
    pictures = {}
    for side in ("left", "right"):
        (folder / side).mkdir()
        for number in range(2):
            pictures[f"{side}/{number}"] = (folder / "color.png").read_bytes() + f"{side}{number}".encode()
            (folder / f"{side}/{number}.png").write_bytes(pictures[f"{side}/{number}"])
    dataset(*(entry(name, id=None, image=f"{name}.png") for name in pictures))
    reader = open_reader(folder)
    found = [item for scene in reader.scenes() for item in reader.frames(scene)]
    assert {item.frame: item.encoded_image for item in found if not isinstance(item, Rejection)} == pictures
    assert set(pictures) <= set(open_benchmark(str(folder), "rig").rows())


def test_frames_of_one_name_in_two_scenes_are_rows_of_their_own(dataset: Dataset) -> None:  # noqa: F811
    folder = dataset(entry("a", scene="x"), entry("a", scene="y"), entry("b", scene="y"))
    assert open_benchmark(str(folder), "two").rows()[:3] == ("x/a", "y/a", "b")


def test_scenes_with_a_picture_in_common_go_to_the_split_of_the_first(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("b")
    shown = [("s", "a"), ("t", "b"), ("u", "c"), ("u", "./a"), ("v", "link"), ("w", None)]
    assert same_pictures(tmp_path, shown) == {"u": "s", "v": "t"}


def test_lines_of_one_image_or_one_scene_are_in_one_split(tmp_path: Path) -> None:
    rest = '"intrinsics": [4, 4, 1, 1, 4, 4], "pixel_coords": [[1, 1]], "depth": [1]'
    lines = [f'{{"image": "{n}.png", {rest}}}' for n in range(20) for _ in range(2)]
    lines += [f'{{"image": "room-{n}.png", "scene": "room", {rest}}}' for n in range(20)]
    (tmp_path / "labels.jsonl").write_text("\n".join(lines))
    reader = open_reader(tmp_path, "set")
    groups = scene_groups(reader, IngestConfig(heldout_share=0.5))
    split_of = {scene: group.split for group in groups for scene in group.scenes}
    assert len(split_of) == 60 and len(set(split_of.values())) == 2
    for number in range(20):
        assert split_of[f"{number}"] == split_of[f"{number}-line-{2 * number + 2}"]
    assert len({split_of[f"room-{number}"] for number in range(20)}) == 1


def test_no_line_takes_the_place_of_another(tmp_path: Path) -> None:
    (tmp_path / "l.jsonl").write_text("\n".join(f'{{"image": "{n}.png"}}' for n in ("x-line-3", "x", "x")))
    assert len(open_reader(tmp_path).scenes()) == 3


def test_names_that_begin_with_a_dot_are_no_data(tmp_path: Path) -> None:
    for place in (tmp_path / "photos", tmp_path / ".ipynb_checkpoints"):
        place.mkdir()
        (place / "labels.jsonl").write_text('{"image": "a.png"}')
        (place / "._labels.jsonl").write_bytes(b"\0\5\26\7")
    assert find_sources(tmp_path) == (("photos", tmp_path / "photos"),)
    assert open_benchmark(str(tmp_path / "photos"), "photos").rows() == ("a",)
