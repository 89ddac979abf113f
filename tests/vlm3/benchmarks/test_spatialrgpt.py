"""SpatialRGPT-Bench as it is published, and what is wrong with rows that are not."""

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vlm3.asking.items import ObjectItem
from vlm3.asking.object_questions import ObjectQuestion
from vlm3.benchmarks.opening import open_benchmark
from vlm3.benchmarks.spatialrgpt import HORIZONTAL_FOV_DEG, SpatialRgptBench, published_value
from vlm3.errors import DataError, UserError
from vlm3.scenes.schema import IntrinsicsSource

Entry = dict[str, Any]


def entry(**changes: Any) -> Entry:
    return {
        "id": "omni_1",
        "image_info": {"file_path": "images/a.png", "width": 64, "height": 48, "dataset": "x"},
        "text_q": "How far apart are Region [0] and Region [1]?",
        "qa_info": {"type": "quantitative", "category": "distance_data"},
        "bbox": [[1, 2, 20, 30], [30.5, 2, 64, 48]],
        "rle": [{"size": [48, 64], "counts": "abc"}],
        "conversations": [
            {"from": "human", "value": "How far apart are <mask> and <mask>?"},
            {"from": "gpt", "value": "Region [0] and Region [1] are 1.25 meters apart."},
        ],
    } | changes


def said(text: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": "?"}, {"from": "gpt", "value": text}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((48, 64, 3), np.uint8))
    return tmp_path


def opened(folder: Path, *entries: Any, name: str = "bench.json") -> SpatialRgptBench:
    path = folder / name
    lines = name.endswith("l")
    path.write_text("\n".join(map(json.dumps, entries)) if lines else json.dumps(list(entries)))
    found = open_benchmark(str(path), "bench")
    assert isinstance(found, SpatialRgptBench)
    return found


@pytest.mark.parametrize("name", ["bench.json", "bench.jsonl"])
def test_questions_come_with_regions_and_the_published_truth(folder: Path, name: str) -> None:
    second = entry(qa_info={"type": "quantitative", "category": "width_data"}, conversations=said("It is 80 cm wide."))
    bench = opened(folder, entry(), second, name=name)
    assert bench.rows() == ("00000-omni_1", "00001-omni_1")
    (item,) = bench.read("00000-omni_1")
    assert isinstance(item, ObjectItem) and item.questions is not None
    (asked,) = item.questions
    assert (asked.question, asked.value) == (ObjectQuestion.DISTANCE, 1.25)
    assert asked.regions_px == ((1, 2, 20, 30), (30.5, 2, 64, 48)) and item.group == "images/a.png"
    (item,) = bench.read("00001-omni_1")
    assert isinstance(item, ObjectItem) and item.questions is not None
    assert len(item.questions[0].regions_px) == 1 and item.questions[0].value == pytest.approx(0.8)


def test_intrinsics_are_a_field_of_view_unless_given(folder: Path) -> None:
    bench = opened(folder, entry(), entry(intrinsics=[70, 71, 30, 20]))
    (item,) = bench.read("00000-omni_1")
    camera = item.frame.camera
    assert 2 * math.degrees(math.atan(32 / camera.fx_px)) == pytest.approx(HORIZONTAL_FOV_DEG)
    assert item.frame.intrinsics_source is IntrinsicsSource.FIELD_OF_VIEW
    (given,) = bench.read("00001-omni_1")
    assert given.frame.camera.fy_px == 71 and given.frame.intrinsics_source is IntrinsicsSource.GIVEN


def test_nested_values_may_be_texts_as_in_the_hubs_tables(folder: Path) -> None:
    texts = {key: str(value) for key, value in entry().items() if key != "id"}
    (item,) = opened(folder, entry(), texts).read("00001")
    assert isinstance(item, ObjectItem) and item.questions is not None and item.questions[0].value == 1.25


@pytest.mark.parametrize(
    ("category", "answer", "value"),
    [
        ("left_predicate", "Yes, Region [0] is to the left of Region [1].", 1),
        ("left_predicate", "Indeed, it is.", 1),
        ("tall_predicate", "No, Region [0] is not taller.", 0),
        ("tall_predicate", "In fact, Region [0] is shorter.", 0),
        ("tall_choice", "Standing taller between the two is Region [1].", 2),
        ("below_choice", "Region [0] is lower.", 1),
        ("direction", "Region [1] is at Region [0]'s 10 o'clock.", 10),
        ("height_data", "Region [0] is 6.5 feet in height.", 6.5 * 0.3048),
        ("vertical_distance_data", "They are 12 inches apart vertically.", 12 * 0.0254),
    ],
)
def test_published_answers_are_read(category: str, answer: str, value: float) -> None:
    assert published_value(ObjectQuestion(category), answer) == pytest.approx(value)


@pytest.mark.parametrize(
    ("category", "answer"),
    [
        ("height_data", "1,200.5 centimeters"),
        ("height_data", "5 feet 6 inches"),
        ("height_data", ".5 m"),
        ("distance_data", "The 2 in the back is 3 meters away."),
        ("left_predicate", "Nope"),
        ("left_predicate", "Now yes"),
    ],
)
def test_published_answers_are_never_guessed(category: str, answer: str) -> None:
    with pytest.raises(DataError, match="states no"):
        published_value(ObjectQuestion(category), answer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qa_info": {"category": "left_predicat"}}, "did you mean 'left_predicate'"),
        ({"bbox": [[1, 2, 20, 30]]}, "is about 2 regions, bbox has 1"),
        ({"bbox": [[1, 2, 20, 30], [30, 2, 90, 40]]}, "does not lie inside the image of 64x48 px"),
        ({"bbox": [[20, 2, 1, 30], [30, 2, 60, 40]]}, "does not lie inside"),
        ({"image_info": {"file_path": "images/b.png", "width": 64, "height": 48}}, "no such file"),
        ({"image_info": {"file_path": "../a.png", "width": 64, "height": 48}}, "leaves its folder"),
        ({"image_info": {"file_path": "images/a.png", "width": 65, "height": 48}}, "image is 64x48 px"),
        ({"conversations": said("They are far apart.")}, "states no length"),
        ({"conversations": said("a")[:1]}, "conversations"),
        ({"bbox": [[1, 2, 3]]}, "bbox"),
    ],
)
def test_bad_rows_say_what_is_wrong(folder: Path, change: Entry, message: str) -> None:
    with pytest.raises(UserError, match=message):
        opened(folder, entry(), entry(**change)).read("00001-omni_1")


def test_other_files_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="found none"):
        (folder / "other.json").write_text('[{"qa_info": 1}]')
        open_benchmark(str(folder / "other.json"), "bench")
    with pytest.raises(DataError, match="not JSON"):
        (folder / "broken.json").write_text('[{"qa_info": ')
        open_benchmark(str(folder / "broken.json"), "bench")


def test_identity_does_not_look_outside_of_the_folder(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside.png"
    info = entry()["image_info"] | {"file_path": f"../{outside.name}"}
    bench = opened(folder, entry(image_info=info))
    before = bench.identity()
    outside.write_bytes(b"some bytes")
    assert bench.identity() == before
    outside.unlink()
