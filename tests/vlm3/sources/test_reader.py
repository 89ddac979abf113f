"""Which reader fits what: a folder, a file, or a folder of datasets."""

import json
import logging
from pathlib import Path

import pytest

from vlm3.errors import DataError
from vlm3.sources.jsonl import JsonLinesReader
from vlm3.sources.reader import find_sources, open_reader, source_name
from vlm3.sources.rgbd import RgbdReader

INDEX = json.dumps({"frames": [{"image": "a.png", "depth": "b.png", "K": [1, 2, 3, 4]}]})
LABELS = json.dumps({"image": "a.png", "intrinsics": [1, 2, 3, 4, 5, 6], "pixel_coords": [], "depth": []})


def folder(parent: Path, name: str, **files: str) -> Path:
    path = parent / name
    path.mkdir()
    for file, text in files.items():
        (path / file.replace("_", ".")).write_text(text)
    return path


def test_the_supported_sets_of_real_data_are_found_and_the_others_skipped_with_a_word(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "vlm3"):
        found = find_sources(data_dir)
    assert [name for name, _ in found] == ["depth_ibims1", "depth_nyu_kitti", "rgbd_7scenes", "rgbd_hololens"]
    for skipped in ("boxes_kitti", "pairs_strecha", "poses_fox"):
        assert any(skipped in record.getMessage() for record in caplog.records)


def test_a_supported_folder_is_its_own_only_source(data_dir: Path) -> None:
    assert find_sources(data_dir / "rgbd_7scenes") == (("rgbd_7scenes", data_dir / "rgbd_7scenes"),)


def test_the_reader_fits_what_lies_in_the_folder(tmp_path: Path) -> None:
    rgbd = open_reader(folder(tmp_path, "rgbd", frames_json=INDEX))
    labels = open_reader(folder(tmp_path, "lines", val_jsonl=LABELS))
    assert (type(rgbd), rgbd.source) == (RgbdReader, "rgbd")
    assert (type(labels), labels.source) == (JsonLinesReader, "lines")


def test_a_source_can_be_given_another_name(tmp_path: Path) -> None:
    assert open_reader(folder(tmp_path, "rgbd", frames_json=INDEX), "kitchen").source == "kitchen"


def test_one_of_several_label_files_is_given_by_its_path(tmp_path: Path) -> None:
    path = folder(tmp_path, "lines", train_jsonl=LABELS, val_jsonl=LABELS)
    with pytest.raises(DataError, match=r"2 label files \(train\.jsonl, val\.jsonl\)"):
        open_reader(path)
    assert open_reader(path / "val.jsonl").source == "lines"


@pytest.mark.parametrize("opened", [open_reader, find_sources])
def test_what_cannot_be_read_is_refused_with_what_can(tmp_path: Path, opened: type) -> None:
    with pytest.raises(DataError, match=r"no such folder.*frames\.json.*jsonl"):
        opened(tmp_path / "absent")
    with pytest.raises(DataError, match=r"frames\.json.*jsonl"):
        opened(folder(tmp_path, "empty"))


def test_a_folder_with_a_broken_index_is_refused_and_not_searched(tmp_path: Path) -> None:
    broken = folder(tmp_path, "broken", frames_json="{")
    folder(broken, "below", frames_json=INDEX)
    with pytest.raises(DataError, match="JSON"):
        find_sources(broken)


def test_a_broken_set_among_good_ones_is_skipped(tmp_path: Path) -> None:
    folder(tmp_path, "b", frames_json="{")
    good = {name: folder(tmp_path, name, frames_json=INDEX) for name in ("c", "a")}
    assert find_sources(tmp_path) == (("a", good["a"]), ("c", good["c"]))


@pytest.mark.parametrize(
    ("name", "expected"), [("plain-1.0_x", "plain-1.0_x"), ("my rooms (2)", "my-rooms-2-"), ("küche", "k-che")]
)
def test_names_of_sources_are_plain(tmp_path: Path, name: str, expected: str) -> None:
    assert source_name(tmp_path / name) == expected
