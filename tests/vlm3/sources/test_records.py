"""What an index says is read, or refused with the key that was meant; what means nothing here is named once."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.vlm3.sources.test_rgbd import Dataset, dataset, entry, frames, read  # noqa: F401
from vlm3.benchmarks.checking import BadRow, check_row
from vlm3.benchmarks.opening import open_benchmark
from vlm3.errors import DataError
from vlm3.geometry.camera import Distortion
from vlm3.scenes.protocol import Rejection
from vlm3.scenes.schema import Scale
from vlm3.sources.foreign_keys import Keys
from vlm3.sources.reader import open_reader
from vlm3.sources.records import RECORD

FISHEYE = {"distortion": "fisheye", "coefficients": [0.05, -0.01, 0.002, -0.0005]}


def at_top(folder: Path, **shared: Any) -> Path:
    index = json.loads((folder / "frames.json").read_text())
    (folder / "frames.json").write_text(json.dumps(shared | index))
    return folder


def test_what_stands_at_the_top_holds_for_all_that_do_not_say_otherwise(dataset: Dataset) -> None:  # noqa: F811
    folder = dataset(entry("a", K=None), entry("b", depth_scale=1000, distortion="none"))
    first, second = frames(at_top(folder, depth_scale=5000.0, K=[40, 40, 19, 14], scene="hall", **FISHEYE))
    assert first.points[0, 2] == pytest.approx(2000 / 5000) and second.points[0, 2] == pytest.approx(2.0)
    assert first.full_depth is not None and first.full_depth.metres_per_unit == 1 / 5000
    assert (first.camera.cx_px, second.camera.cx_px, first.scene) == (19, 19.5, "hall")
    assert first.camera.coefficients == tuple(FISHEYE["coefficients"]) and first.camera.distortion is Distortion.FISHEYE
    assert second.camera.distortion is Distortion.NONE


@pytest.mark.parametrize(
    ("changes", "model", "count"),
    [
        (FISHEYE, Distortion.FISHEYE, 4),
        ({"distortion": "brown", "coefficients": [0.1] * 8}, Distortion.BROWN, 8),
        ({"distortion_k1k2p1p2": [0.1, 0, 0, 0, 0.01]}, Distortion.BROWN, 5),
        ({"distortion_k1k2p1p2": [0.1, 0.01]}, Distortion.BROWN, 2),
        ({"k1": 0.0, "k2": 0, "camera_model": "PINHOLE"}, Distortion.NONE, 0),
        ({"width": 40.0, "height": 30.0}, Distortion.NONE, 0),
    ],
)
def test_every_form_of_a_lens_is_read(
    dataset: Dataset,  # noqa: F811
    changes: dict[str, Any],
    model: Distortion,
    count: int,
) -> None:
    (frame,) = frames(dataset(entry("a", **changes)))
    assert (frame.camera.distortion, len(frame.camera.coefficients)) == (model, count)


def test_null_is_none(dataset: Dataset) -> None:  # noqa: F811
    folder = dataset(entry("a"))
    text = json.dumps(
        {"frames": [entry("a") | dict.fromkeys(("distortion_k1k2p1p2", "depth_scale", "scene", "distortion"))]}
    )
    (folder / "frames.json").write_text(text)
    assert frames(folder)[0].points[0, 2] == 2.0


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "misspelt": ({"depth_scal": 5000}, "did you mean 'depth_scale'"),
    "swapped letters": ({"T_world_cam": None, "T_wrold_cam": []}, "unknown key 'T_wrold_cam'"),
    "another case": ({"depthScale": 5000}, "did you mean 'depth_scale'"),
    "another level": ({"pairs": []}, "the top of the file"),
    "other tool's units": ({"depth_factor": 5000.0}, "`depth_scale`"),
    "a shift": ({"png_depth_shift": 1000.0}, "`depth_scale`"),
    "a scale of something": ({"scene_scale": 3.0}, "leave the key out"),
    "a lens by letters": ({"k1": 0.1}, "`distortion`"),
    "a lens by its model": ({"camera_model": "OPENCV_FISHEYE"}, "`distortion`"),
    "a lens of OpenCV": ({"distCoeffs": [0.1, 0, 0, 0]}, "`distortion`"),
    "ray depth": ({"depth_kind": "ray"}, "along the optical axis"),
    "width of another tool": ({"width": None, "w": 40}, "`width`"),
    "intrinsics of another tool": ({"K": None, "fl_x": 40}, "`K`"),
    "pose of another tool": ({"T_world_cam": None, "transform_matrix": []}, "`T_world_cam`"),
    "the inverse pose": ({"T_world_cam": None, "T_cam_world": []}, "`T_world_cam`"),
    "a scene by another name": ({"scene_id": "x"}, "`scene`"),
    "a number for a scene": ({"scene": 3}, "scene"),
    "a number for an id": ({"id": 3}, "id"),
    "too few coefficients": ({"distortion": "fisheye", "coefficients": [0.1]}, "takes 4 coefficients"),
    "coefficients of nothing": ({"coefficients": [0.1] * 4}, "give distortion"),
    "two lenses": ({"distortion_k1k2p1p2": [0.1] * 4} | FISHEYE, "given twice"),
    "six coefficients": ({"distortion_k1k2p1p2": [0.1] * 6}, "4, 5 or 8"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_was_meant_for_a_key_is_refused_with_it(dataset: Dataset, kind: str) -> None:  # noqa: F811
    changes, message = REFUSED[kind]
    (bad,) = [item for item in read(dataset(entry("good"), entry("bad", **changes))) if isinstance(item, Rejection)]
    assert message in bad.reason and bad.reason.startswith("frames.json: ")


@pytest.mark.parametrize(
    ("shared", "message"),
    [
        ({"depth_factor": 5000}, "`depth_scale`"),
        ({"depth_scal": 5000}, "did you mean 'depth_scale'"),
        ({"T_world_cam": []}, "belongs into each of `frames`"),
        ({"fisheye": True}, "`distortion`"),
        ({"depth_scale": "5000mm"}, "depth_scale"),
        ({"scale": 0.33}, "scale"),
    ],
)
def test_what_has_no_meaning_at_the_top_refuses_the_file(
    dataset: Dataset,  # noqa: F811
    shared: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(DataError, match=r"frames\.json") as refused:
        open_reader(at_top(dataset(entry("a")), **shared))
    assert message in str(refused.value)


def test_a_key_twice_in_one_object_refuses_the_file(dataset: Dataset) -> None:  # noqa: F811
    folder = dataset(entry("a"))
    (folder / "frames.json").write_text('{"depth_scale": 1000, "depth_scale": 5000, "frames": []}')
    with pytest.raises(DataError, match="key 'depth_scale' stands twice"):
        open_reader(folder)


def test_keys_without_a_meaning_are_named_in_one_line(
    dataset: Dataset,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    extra = {"K_depth": [1], "depth_raw": "x", "T_world_depthcam": [], "lidar": "y", "valid_frac": 0.5}
    folder = at_top(dataset(entry("a", **extra), entry("b", **extra)), pose_convention="OpenCV", depth_encoding="mm")
    with caplog.at_level(logging.INFO, "vlm3"):
        assert len(frames(folder)) == 2
    (line,) = [record.getMessage() for record in caplog.records if "are not read" in record.getMessage()]
    assert "7 keys are not read: K_depth, T_world_depthcam, depth_encoding" in line


def test_names_of_other_tools_say_nothing_beside_ours() -> None:
    keys = Keys(RECORD)
    ours = {"K": [1], "T_world_cam": [], "width": 3, "height": 4, "image": "x", "depth_scale": 1}
    theirs = {"fl_x": 2, "cx": 3, "w": 3, "h": 4, "transform_matrix": [], "file_path": "x", "depth_factor": 9}
    assert keys.fault(ours | theirs) is None
    assert all(keys.fault({key: value}) for key, value in theirs.items())


def test_depth_of_a_scene_without_scale_is_relative(dataset: Dataset) -> None:  # noqa: F811
    assert frames(at_top(dataset(entry("a")), scale="relative"))[0].scale is Scale.RELATIVE


def test_what_is_read_otherwise_than_before_is_ingested_anew(dataset: Dataset) -> None:  # noqa: F811
    assert "-" not in open_reader(dataset(entry("a"), entry("b", image="depth.png"))).identity()
    assert open_reader(dataset(entry("a", **FISHEYE))).identity().endswith("-2")
    assert open_reader(dataset(entry("a", depth_factor=5))).identity().endswith("-2")
    assert open_reader(at_top(dataset(entry("a")), depth_scale=5)).identity().endswith("-2")


def test_boxes_pairs_and_posed_images_know_the_same_keys(dataset: Dataset) -> None:  # noqa: F811
    folder = dataset(entry("a", depth=None), entry("b", depth=None, k1=0.3), entry("c", depth=None))
    at_top(folder, **FISHEYE)
    benchmark = open_benchmark(str(folder), "posed")
    found = [check_row(benchmark, row) for row in benchmark.rows()]
    assert [isinstance(row, BadRow) and "`distortion`" in row.reason for row in found] == [False, False]
    index = json.loads((folder / "frames.json").read_text())
    pair = {"a": "color.png", "b": "color.png", "T_a_from_b": entry("a")["T_world_cam"]}
    (folder / "pairs.json").write_text(json.dumps({"images": index["frames"][:1], "pairs": [pair]}))
    benchmark = open_benchmark(str(folder), "pairs")
    (row,) = [check_row(benchmark, row) for row in benchmark.rows()]
    assert isinstance(row, BadRow) and "did you mean 'T_b_from_a'" in row.reason
    thing = {"category": "chair", "center_cam_m": [0, 0, 3], "size_lwh_m": [1, 1, 1], "bbox": [1, 1, 9, 9]}
    frame = entry("a", objects=[thing | {"R_cam_obj": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}])
    (folder / "boxes.json").write_text(json.dumps({"frames": [frame]}))
    benchmark = open_benchmark(str(folder), "boxes")
    (row,) = [check_row(benchmark, row) for row in benchmark.rows()]
    assert isinstance(row, BadRow) and "`bbox2d`" in row.reason
