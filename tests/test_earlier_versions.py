"""Shards, exports and evaluations that an earlier version wrote are read, or refused with the cure in one line."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.answerers import answerer_source
from pipelines.ingest import IngestConfig, ingest
from pipelines.predict import Replicas, predict
from pipelines.sources import RENDERED
from tests import drawn_folders as drawn
from tests.earlier import answers, recipe_of, samples
from vlm3.asking.tables import from_arrow
from vlm3.benchmarks.checking import BadRow, check_row
from vlm3.benchmarks.opening import open_benchmark
from vlm3.errors import ConfigError
from vlm3.evaluation.compare import compare
from vlm3.evaluation.report import MODEL
from vlm3.evaluation.scoring import score
from vlm3.geometry.camera import Distortion
from vlm3.geometry.depth import DepthKind
from vlm3.models.load import ModelConfig, load_model
from vlm3.scenes.checks import check_frame
from vlm3.scenes.protocol import SceneReader
from vlm3.scenes.schema import Frame, Scale
from vlm3.scenes.sharded import ShardedSource
from vlm3.sources.reader import open_reader
from vlm3.sources.rooms.reader import RoomsReader
from vlm3.storage.images import decode_rgb
from vlm3.storage.split import Split
from vlm3.tasks.depth.table import DepthTable
from vlm3.tasks.depth.task import AskedDepth
from vlm3.tasks.objects.task import AskedObjects
from vlm3.tasks.pose.task import AskedPose
from vlm3.tasks.spec_file import read_spec
from vlm3.tracking.client import tracking_uri
from vlm3.tracking.config import TrackingConfig

YARD = IngestConfig(heldout_share=0.4, clip_frames=4, slots_per_clip=4, shard_bytes=65536)
MARKS = IngestConfig(role="eval")


def frames_of(source: ShardedSource) -> dict[tuple[str, str], Frame]:
    return {
        (frame.scene, frame.frame): frame
        for split in Split
        for clip in range(source.clips(split))
        for frame in source.read_clip(split, clip)
    }


def test_posed_frames_of_earlier_shards_are_what_was_ingested(earlier: Path) -> None:
    source = ShardedSource.open(str(earlier / "runs" / "data" / "yard"))
    assert (source.name, source.role, source.scale, source.slots) == ("yard", "train", "metric", 4)
    assert source.clips(Split.TRAIN) > 0 and source.clips(Split.EVAL) > 0
    found = frames_of(source)
    assert set(found) == {(frame.scene, frame.name) for frame in drawn.yard()}
    for expected in drawn.yard():
        frame, camera = found[expected.scene, expected.name], found[expected.scene, expected.name].camera
        lens = drawn.LENS[expected.scene]
        assert (camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px) == (40.0, 41.0, 23.5, 17.5)
        assert (camera.distortion, camera.coefficients) == (Distortion.BROWN if lens else Distortion.NONE, lens)
        assert (frame.scale, frame.depth_kind) == (Scale.METRIC, DepthKind.Z)
        np.testing.assert_array_equal(frame.world_T_cam, expected.world_T_cam)
        np.testing.assert_array_equal(decode_rgb(frame.encoded_image), expected.rgb)
        millimetres = expected.z_depth_mm
        u, v = frame.points[:, :2].astype(int).T
        np.testing.assert_array_equal(frame.points[:, 2], (millimetres[v, u] / 1000).astype(np.float32))
        assert len(frame.points) == min(1024, drawn.WIDTH_PX * drawn.HEIGHT_PX - 2)
        assert frame.full_depth is not None and frame.small_depth is not None
        stored = cv2.imdecode(np.frombuffer(frame.full_depth.encoded_png, np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(stored, np.where(millimetres == 65535, 0, millimetres))
        assert frame.full_depth.metres_per_unit == 0.001
        hole = np.isnan(frame.small_depth.z_depth_m)
        assert hole.sum() == 2 and hole[drawn.HOLE_PX] and hole[drawn.FAR_PX]


def test_rendered_rooms_of_earlier_shards_are_those_of_today(earlier: Path) -> None:
    source = ShardedSource.open(str(earlier / "runs" / "data" / "flats"))
    config = recipe_of().sources["flats"].render
    assert config is not None
    reader = RoomsReader(config, "flats")
    rendered = {(frame.scene, frame.frame): frame for scene in reader.scenes() for frame in reader.frames(scene)}
    found = frames_of(source)
    assert set(found) == set(rendered)
    for name, expected in rendered.items():
        frame = found[name]
        assert frame.camera == expected.camera and frame.time_s == expected.time_s
        assert frame.boxes is not None and expected.boxes is not None
        assert [box.label for box in frame.boxes] == [box.label for box in expected.boxes]
        for box, other in zip(frame.boxes, expected.boxes, strict=True):
            for part in ("center_cam_m", "size_m", "cam_R_object", "region_px"):
                np.testing.assert_allclose(getattr(box, part), getattr(other, part), atol=1e-9)
        np.testing.assert_allclose(frame.world_T_cam, expected.world_T_cam, atol=1e-12)
        np.testing.assert_allclose(frame.points, expected.points, rtol=1e-6)
        pixels = decode_rgb(frame.encoded_image).astype(int), decode_rgb(expected.encoded_image).astype(int)
        assert np.abs(pixels[0] - pixels[1]).max() <= 2


def test_what_an_earlier_version_ingested_is_not_ingested_again(earlier: Path) -> None:
    config = recipe_of().sources["flats"].render
    assert config is not None
    sources: dict[str, tuple[SceneReader, IngestConfig]] = {
        "yard": (open_reader(earlier / "yard", "yard"), YARD),
        "marks": (open_reader(earlier / "marks", "marks"), MARKS),
        "flats": (RoomsReader(config, "flats"), RENDERED),
    }
    for name, (reader, asked) in sources.items():
        done = ingest(reader, str(earlier / "runs" / "data" / name), asked)
        assert done.reused and done.shards > 0


def test_single_views_are_read_and_a_turned_one_that_was_let_in_is_refused(earlier: Path) -> None:
    folder = earlier / "runs" / "data" / "marks"
    found = frames_of(ShardedSource.open(str(folder)))
    assert {scene for scene, _ in found} == {"plain", "slow", "deep", "turned"}
    for number, (name, encoded) in enumerate(drawn.marks().items()):
        frame = found[Path(name).stem, Path(name).stem]
        assert frame.world_T_cam is None and frame.boxes is None and frame.small_depth is None
        np.testing.assert_array_equal(frame.points[:, :2], drawn.MARKS_PX)
        np.testing.assert_array_equal(frame.points[:, 2], np.float32(drawn.mark_depth_m(number)))
        if name != "turned.png":
            assert frame.encoded_image == encoded
            assert check_frame(frame) is None
    benchmark = open_benchmark(str(folder), "marks")
    rows = {row: check_row(benchmark, row) for row in benchmark.rows()}
    (fault,) = (found for found in rows.values() if isinstance(found, BadRow))
    assert "turned" in fault.row and "EXIF orientation 3" in fault.reason and "exiftool" in fault.reason
    assert "\n" not in fault.reason


@pytest.mark.floats
def test_an_earlier_export_is_asked_in_the_same_words_and_says_the_same(earlier: Path, said: dict[str, Any]) -> None:
    export = earlier / "runs" / "train" / "done" / "export"
    load_model(export, ModelConfig(id=str(export)))
    ask = read_spec(export)
    assert [part.task for part in ask.parts] == [AskedDepth.task, AskedPose.task, AskedObjects.task]
    assert ask.needed(AskedDepth).focal_px == 30 and ask.needed(AskedDepth).ask.templates == "compact-1"
    now = {
        task: [[question, reply.text] for question, reply in replies]
        for task, replies in answers(export, earlier / "marks").items()
    }
    assert now == said["answers"]


def test_the_stream_of_an_earlier_run_has_the_same_samples(earlier: Path, said: dict[str, Any]) -> None:
    now = samples(earlier / "runs")
    assert [sample["component"] for sample in now].count("yard/depth") > 0
    exact = ("position", "component", "attempt", "seed")
    assert [[one[key] for key in exact] for one in now] == [[one[key] for key in exact] for one in said["samples"]]
    # That version cut images down to whole tokens, so what is shown differs; what depends on no image does not.
    poses = [pair for pair in zip(now, said["samples"], strict=True) if pair[0]["component"].endswith("/pose")]
    assert poses and all(one["text"] == other["text"] for one, other in poses)


def test_answers_that_an_earlier_version_kept_are_not_mixed_with_new_ones(earlier: Path) -> None:
    runs = earlier / "runs"
    benchmark = open_benchmark(str(earlier / "marks"), "marks")
    export = str(runs / "train" / "done" / "export")
    source = answerer_source(export, None, None, "cpu", tracking_uri(TrackingConfig(), runs), runs)
    with pytest.raises(ConfigError, match=r"asked otherwise: choose another --name") as refused:
        predict(benchmark, benchmark.rows(), source, runs / "evaluation" / "measured" / "marks", Replicas())
    assert "\n" not in str(refused.value)


def test_an_earlier_evaluation_is_scored_and_compared_as_it_was(earlier: Path) -> None:
    evaluations = earlier / "runs" / "evaluation"
    table = from_arrow(DepthTable, pq.read_table(evaluations / "predicted" / "marks" / "depth.parquet"))
    assert table.item.tolist() == [name for name in ("plain", "slow", "deep", "turned") for _ in drawn.MARKS_PX]
    np.testing.assert_allclose(table.true_m[:, 0].reshape(4, -1), [drawn.mark_depth_m(n) for n in range(4)])
    np.testing.assert_allclose(table.predicted_m[:4, 0], 1.1 * np.array(drawn.mark_depth_m(0)))
    report = json.loads((evaluations / "predicted" / "report.json").read_text())
    known = {entry["metric"]: entry["value"] for entry in report["scores"] if entry["by"] == MODEL}
    now = {entry.metric: entry.value for entry in score("marks", table, 0) if entry.by == MODEL}
    assert known and known == pytest.approx({metric: now[metric] for metric in known}, abs=1e-9)
    (found,) = compare(evaluations / "measured", evaluations / "predicted", 0)
    assert (found.task, found.questions, found.not_asked) == ("depth", 16, 0)
    assert found.b == pytest.approx(known["delta1"])
