"""Labels in JSON lines: iBims-1 as published, and lines that nobody should have written."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vlm3.errors import DataError
from vlm3.scenes.checks import check_frame
from vlm3.scenes.protocol import Rejection
from vlm3.scenes.schema import Frame
from vlm3.sources.jsonl import JsonLinesReader
from vlm3.sources.reader import open_reader

WIDTH, HEIGHT = 40, 30
Labels = Callable[..., JsonLinesReader]


def line(name: str = "good", **changes: Any) -> bytes:
    labels = {"image": f"{name}.png", "intrinsics": [40, 40.5, 19.5, 14.5, WIDTH, HEIGHT]}
    labels |= {"pixel_coords": [[3, 4], [5, 6]], "depth": [1.5, 2]} | changes
    return json.dumps({key: value for key, value in labels.items() if value is not None}).encode()


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    """Writes the given lines beside the images good.png, bad.png and fine.png."""
    image = cv2.imencode(".png", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))[1].tobytes()
    for name in ("good", "bad", "fine"):
        (tmp_path / f"{name}.png").write_bytes(image)

    def write(*lines: bytes, end: bytes = b"\n") -> JsonLinesReader:
        (tmp_path / "labels.jsonl").write_bytes(end.join(lines))
        reader = open_reader(tmp_path, "set")
        assert isinstance(reader, JsonLinesReader)
        return reader

    return write


def read(reader: JsonLinesReader) -> list[Frame | Rejection]:
    return [item for scene in reader.scenes() for item in reader.frames(scene)]


def test_ibims_is_read_as_published(data_dir: Path) -> None:
    reader = open_reader(data_dir / "depth_ibims1")
    assert (reader.source, reader.posed, len(reader.scenes())) == ("depth_ibims1", False, 30)
    published = [json.loads(text) for text in (data_dir / "depth_ibims1" / "labels.jsonl").read_text().splitlines()]
    for scene, said in zip(reader.scenes(), published, strict=True):
        (frame,) = reader.frames(scene)
        assert isinstance(frame, Frame)
        assert check_frame(frame) is None
        assert frame.encoded_image == (data_dir / "depth_ibims1" / said["image"]).read_bytes()
        camera = frame.camera
        given = [camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px, camera.width_px, camera.height_px]
        assert given == said["intrinsics"]
        expected = np.column_stack([said["pixel_coords"], said["depth"]])
        np.testing.assert_array_equal(frame.points, expected.astype(np.float32))
        assert (frame.world_T_cam, frame.small_depth, frame.full_depth) == (None, None, None)


def test_a_scene_is_called_as_its_image(labels: Labels) -> None:
    assert labels(line("good"), line("fine")).scenes() == ("good", "fine")


def test_lines_of_the_same_image_are_different_scenes(labels: Labels) -> None:
    reader = labels(line("good"), line("good", depth=[7, 8]))
    first, second = read(reader)
    assert isinstance(first, Frame)
    assert isinstance(second, Frame)
    assert first.scene != second.scene
    assert (first.points[0, 2], second.points[0, 2]) == (1.5, 7.0)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n", b"\n \n"])
def test_line_ends_and_blank_lines_do_not_matter(labels: Labels, end: bytes) -> None:
    items = read(labels(line("good"), line("fine"), b"", end=end))
    assert [item.frame for item in items if isinstance(item, Frame)] == ["good", "fine"]


def test_a_line_is_found_where_it_stands_whatever_came_before(labels: Labels) -> None:
    # U+2028 and a form feed end lines for str.splitlines, not in a file of JSON lines.
    odd = '{"image": "x.png", "note": "ä\u2028\x0c"}'.encode()
    reader = labels(odd, line("fine"))
    (frame,) = reader.frames("fine")
    assert isinstance(frame, Frame)


def test_of_many_labels_1024_are_drawn_the_same_each_time(labels: Labels) -> None:
    pixels = [[u, v] for u in range(WIDTH) for v in range(HEIGHT)]
    reader = labels(line("good", pixel_coords=pixels, depth=[1 + u + v / 100 for u, v in pixels]))
    (frame,), (again,) = reader.frames("good"), pickle.loads(pickle.dumps(reader)).frames("good")
    assert isinstance(frame, Frame)
    assert len(np.unique(frame.points, axis=0)) == 1024
    np.testing.assert_allclose(frame.points[:, 2], 1 + frame.points[:, 0] + frame.points[:, 1] / 100, rtol=1e-6)
    np.testing.assert_array_equal(frame.points, again.points)
    # Drawn from everywhere, not the first ones.
    assert frame.points[:, 0].max() == WIDTH - 1


def test_identity_changes_with_the_labels_and_their_images(labels: Labels, tmp_path: Path) -> None:
    before = labels(line("good")).identity()
    assert labels(line("good")).identity() == before
    assert labels(line("good", depth=[1, 2])).identity() != before
    (tmp_path / "good.png").write_bytes(b"shorter")
    assert labels(line("good")).identity() != before


HOSTILE: dict[str, tuple[bytes, str]] = {
    "cut": (line("bad")[:-30], "JSON"),
    "not UTF-8": (b'{"image": "bad.png", "\xe9": 1}', ""),
    "nested": (b'{"image": ' + b"[" * 100_000, ""),
    "a number": (b"3", ""),
    "nothing": (b"null", ""),
    "no image": (line("bad", image=None), "image"),
    "empty path": (line("bad", image=""), "path"),
    "absolute path": (line("bad", image="/etc/passwd"), "leaves its folder"),
    "path that climbs": (line("bad", image="../../etc/passwd"), "leaves its folder"),
    "link out of the folder": (line("bad", image="escape.png"), "leaves its folder"),
    "loop of links": (line("bad", image="loop.png"), "loop.png"),
    "missing image": (line("bad", image="none.png"), "no such file"),
    "no intrinsics": (line("bad", intrinsics=None), "intrinsics"),
    "four intrinsics": (line("bad", intrinsics=[1, 2, 3, 4]), "intrinsics"),
    "endless size": (line("bad", intrinsics=[1, 2, 3, 4, 10**400, 3]), "intrinsics"),
    "infinite size": (line("bad", intrinsics=[40, 40, 20, 15, float("inf"), 3]), "intrinsics"),
    "size below 1": (line("bad", intrinsics=[40, 40, 20, 15, 0, -3]), "intrinsics"),
    "focal NaN": (line("bad", intrinsics=[float("nan"), 40, 20, 15, WIDTH, HEIGHT]), "NaN"),
    "size of another image": (line("bad", intrinsics=[40, 40, 20, 15, WIDTH * 2, HEIGHT]), "80x30"),
    "fewer depths than pixels": (line("bad", depth=[1]), "2 pixel_coords but 1 depths"),
    "pixels of three numbers": (line("bad", pixel_coords=[[1, 2, 3], [4, 5, 6]]), "pixel_coords"),
    "pixels in words": (line("bad", pixel_coords=[["left", 2], [4, 5]]), "pixel_coords"),
    "no labels": (line("bad", pixel_coords=[], depth=[]), "no label"),
    "depth NaN": (line("bad", depth=[1, float("nan")]), "1 of 2"),
    "depth below zero": (line("bad", depth=[-1, 2]), "-1 m"),
    "depth beyond floats": (line("bad", depth=[1, 1e300]), "1 of 2"),
    "pixel outside": (line("bad", pixel_coords=[[0, 0], [WIDTH, 0]]), "1 of 2"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_bad_line_is_rejected_with_its_reason_and_the_others_are_read(
    labels: Labels, tmp_path: Path, kind: str
) -> None:
    bad, reason = HOSTILE[kind]
    (tmp_path / "escape.png").symlink_to("/etc/passwd")
    (tmp_path / "loop.png").symlink_to("loop.png")
    judged = [
        check_frame(item) if isinstance(item, Frame) else item for item in read(labels(line("good"), bad, line("fine")))
    ]
    assert judged.count(None) == 2
    (rejection,) = [item for item in judged if item is not None]
    assert reason in rejection.reason
    assert len(rejection.reason) < 1000


def test_a_rejection_names_the_row_in_the_file(labels: Labels) -> None:
    items = read(labels(line("good"), b"", b"{", line("fine")))
    (rejection,) = [item for item in items if isinstance(item, Rejection)]
    assert (rejection.source, rejection.frame) == ("set", "line-3")
    assert "labels.jsonl line 3" in rejection.reason


@pytest.mark.parametrize("content", [b"", b"\n\n", b"not json\n", b"{}\n[]\n"])
def test_a_file_without_a_single_image_is_refused(labels: Labels, content: bytes) -> None:
    with pytest.raises(DataError, match=r"labels\.jsonl"):
        labels(content)
