"""An evaluation from benchmark to report, MLflow and pictures."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from pipelines.answerers import DirectoryAnswerer, EndpointAnswerer, FileAnswerer, answerer_source
from pipelines.benchmark import BenchmarkRequest, run_benchmark
from pipelines.predict import Replicas
from vlm3.benchmarks.opening import open_benchmarks
from vlm3.errors import ConfigError, DataError
from vlm3.evaluation.compare import compare
from vlm3.tasks.depth.task import AskedDepth
from vlm3.tasks.objects.task import AskedObjects
from vlm3.tasks.pose.task import AskedPose
from vlm3.tracking.client import connect, tracking_uri
from vlm3.tracking.config import TrackingConfig
from vlm3.tracking.registry import register
from vlm3.tracking.runs import prepare_tracking, start_run

IMAGES = 6


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """A folder of images with depth at four pixels each."""
    folder = tmp_path / "set"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for number in range(IMAGES):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 255, (48, 64, 3), np.uint8))
        lines.append(
            {
                "image": f"{number}.png",
                "intrinsics": [60, 60, 31.5, 23.5, 64, 48],
                "pixel_coords": [[5, 5], [30, 20], [60, 40], [31.5, 23.5]],
                "depth": rng.uniform(1, 9, 4).tolist(),
            }
        )
    (folder / "labels.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def predictions(labels: Path, file: Path, factor: float, items: int = IMAGES) -> Path:
    lines = [json.loads(line) for line in (labels / "labels.jsonl").read_text().splitlines()][:items]
    rows = [
        {"item": str(n), "task": "depth", "values": [factor * z for z in line["depth"]]} for n, line in enumerate(lines)
    ]
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


def request(name: str, model: str, data: Path, runs_dir: Path, *, allow_skip: bool = False) -> BenchmarkRequest:
    uri = tracking_uri(TrackingConfig(), runs_dir)
    return BenchmarkRequest(
        name=name,
        model=model,
        source=answerer_source(model, None, None, "cpu", uri, runs_dir),
        benchmarks=open_benchmarks([str(data)], None),
        runs_dir=runs_dir,
        tracking=TrackingConfig(),
        replicas=Replicas(1, 0.5),
        allow_skip=allow_skip,
    )


def mlflow_run(runs_dir: Path, name: str) -> tuple[MlflowClient, object]:
    client = connect(tracking_uri(TrackingConfig(), runs_dir))
    experiment = client.get_experiment_by_name("vlm3")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{name}'")
    return client, run


def paths(client: MlflowClient, run_id: str, folder: str = "") -> set[str]:
    found = set()
    for entry in client.list_artifacts(run_id, folder or None):
        found |= paths(client, run_id, entry.path) if entry.is_dir else {entry.path}
    return found


def test_predictions_are_scored_beside_baselines_and_recorded(ray_session: None, labels: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    good = run_benchmark(request("good", str(predictions(labels, tmp_path / "good.parquet", 1.01)), labels, runs))
    mine = {score.metric: score for score in good.scores if score.by == "model"}
    assert mine["delta1"].value == 1 and mine["abs_rel"].value == pytest.approx(0.01)
    assert mine["count"].value == 4 * IMAGES and mine["delta1"].low == 1
    assert {score.by for score in good.scores} == {"model", "best constant", "depth of the row"}
    folder = runs / "evaluation" / "good"
    assert json.loads((folder / "report.json").read_text())["coverage"] == [
        {"benchmark": "set", "rows": 6, "skipped": 0}
    ]
    assert "| set | model | 1.000 [1.000, 1.000] |" in (folder / "report.md").read_text()
    client, run = mlflow_run(runs, "good")
    assert run.data.metrics["set/depth/delta1"] == 1 and run.info.status == "FINISHED"  # type: ignore[attr-defined]
    assert paths(client, run.info.run_id) >= {  # type: ignore[attr-defined]
        "report.md",
        "report.json",
        "answers/set/depth.parquet",
        "pictures/depth.png",
        "pictures/set/depth-scatter.png",
        "pictures/set/depth-by-depth.png",
        *(f"pictures/set/depth-{n}.png" for n in range(3)),
    }
    bad = run_benchmark(request("bad", str(predictions(labels, tmp_path / "bad.parquet", 2.0)), labels, runs))
    assert next(s.value for s in bad.scores if s.by == "model" and s.metric == "delta1") == 0
    (found,) = compare(runs / "evaluation" / "bad", folder, 0)
    assert found.found.difference == 1 and found.found.p_value <= 2 ** (1 - IMAGES)


def test_a_bad_row_refuses_all_and_may_be_skipped(ray_session: None, labels: Path, tmp_path: Path) -> None:
    (labels / "2.png").unlink()
    file = str(predictions(labels, tmp_path / "p.parquet", 1.0))
    with pytest.raises(DataError, match=r"set: 1 of 6 rows are bad: 2: labels.jsonl line 3: .*--allow-skip"):
        run_benchmark(request("refused", file, labels, tmp_path / "runs"))
    assert not (tmp_path / "runs" / "evaluation").exists()
    report = run_benchmark(request("skipped", file, labels, tmp_path / "runs", allow_skip=True))
    assert (report.coverage[0].rows, report.coverage[0].skipped) == (6, 1)
    assert "1 bad rows of 6 left out" in report.to_markdown()


def test_a_row_that_no_model_can_be_shown_is_skipped_like_any_other(
    ray_session: None, labels: Path, tmp_path: Path, export_dir: Path
) -> None:
    told = [json.loads(line) for line in (labels / "labels.jsonl").read_text().splitlines()]
    told[2]["intrinsics"][:2] = [0.5, 0.5]
    (labels / "labels.jsonl").write_text("\n".join(map(json.dumps, told)))
    with pytest.raises(DataError, match=r"set: 1 of 6 rows are bad: 2: focal 0.5 px would be scaled up .*--allow-skip"):
        run_benchmark(request("refused", str(export_dir), labels, tmp_path / "runs"))
    report = run_benchmark(request("skipped", str(export_dir), labels, tmp_path / "runs", allow_skip=True))
    assert (report.coverage[0].rows, report.coverage[0].skipped) == (6, 1)


@pytest.fixture
def moderated() -> Iterator[str]:
    """URL of a server that says 2.0 to every question but one in five, which it refuses for good."""
    known: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"][-1]["content"]
            asked = json.dumps(content)
            if asked not in known:
                known.append(asked)
            if known.index(asked) % 5 == 4 and "grey" not in content[-1]["text"]:
                status, body = 400, {"error": {"message": "filtered", "param": "prompt", "code": "content_filter"}}
            else:
                status, body = 200, {"choices": [{"finish_reason": "stop", "message": {"content": "2.0"}}]}
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_address[1]}/v1"
    http.shutdown()
    thread.join()
    http.server_close()


def test_questions_that_a_server_refuses_are_counted_and_end_nothing(
    ray_session: None, labels: Path, tmp_path: Path, moderated: str
) -> None:
    runs = tmp_path / "runs"
    source = answerer_source(moderated, "m", None, "cpu", tracking_uri(TrackingConfig(), runs), runs)
    asked = replace(
        request("served", str(predictions(labels, tmp_path / "p.parquet", 1.0)), labels, runs), source=source
    )
    report = run_benchmark(asked)
    refused = report.outcomes[0].refused
    assert refused and report.outcomes[0].questions == 4 * IMAGES
    assert any(note.startswith(f"set, depth: refused: {refused} of 24") for note in report.notes())
    mine = {score.metric: score.value for score in report.scores if score.by == "model"}
    assert mine["count"] == 4 * IMAGES and mine["unreadable_share"] == pytest.approx(refused / 24)


def test_a_missing_prediction_stops_in_one_line(ray_session: None, labels: Path, tmp_path: Path) -> None:
    file = str(predictions(labels, tmp_path / "p.parquet", 1.0, items=4))
    with pytest.raises(Exception, match=r"^[^\n]*p.parquet: no depth prediction for item '4'[^\n]*$"):
        run_benchmark(request("missing", file, labels, tmp_path / "runs"))


def test_a_registered_version_is_asked_and_its_evaluation_lies_under_its_run(
    ray_session: None, labels: Path, tmp_path: Path, export_dir: Path
) -> None:
    runs = tmp_path / "runs"
    uri = prepare_tracking(TrackingConfig(), runs)
    with start_run(TrackingConfig(), runs, "training", "trial") as training:
        register(TrackingConfig(), uri, training.run_id, export_dir, "eval/rooms/delta1", 0.5, "data")
    report = run_benchmark(request("version", "models:/vlm3-depth/1", labels, runs))
    assert {score.task for score in report.scores} == {"depth"}
    _, run = mlflow_run(runs, "version")
    tags = run.data.tags  # type: ignore[attr-defined]
    assert tags["mlflow.parentRunId"] == training.run_id
    assert (tags["vlm3.model"], tags["vlm3.model_version"]) == ("vlm3-depth", "1")


def test_everyone_who_may_be_measured_is_understood(tmp_path: Path, export_dir: Path, labels: Path) -> None:
    def found(model: str, endpoint_model: str | None = None, ask: Path | None = None) -> object:
        return answerer_source(model, endpoint_model, ask, "cpu", f"sqlite:///{tmp_path}/none.db", tmp_path)

    local = found(str(export_dir))
    assert (
        isinstance(local, DirectoryAnswerer)
        and local.ask.part(AskedDepth) is not None
        and local.ask.part(AskedPose) is None
    )
    served = found("http://127.0.0.1:9/v1", "some-vlm")
    assert isinstance(served, EndpointAnswerer) and served.ask.part(AskedObjects) is not None
    assert isinstance(found(str(predictions(labels, tmp_path / "p.parquet", 1.0))), FileAnswerer)
    moved, other = found("https://elsewhere/v1", "some-vlm"), found("http://127.0.0.1:9/v1", "other-vlm")
    assert isinstance(moved, EndpointAnswerer) and isinstance(other, EndpointAnswerer)
    assert served.identity == moved.identity != other.identity, "a server that has moved is the same"
    ask = tmp_path / "ask.yaml"
    ask.write_text("depth: {focal_px: 300}\n")
    asked = found(str(export_dir), ask=ask)
    assert isinstance(asked, DirectoryAnswerer) and asked.identity != local.identity
    for arguments, message in (
        (("http://127.0.0.1:9/v1",), "--endpoint-model"),
        ((str(export_dir), "some-vlm"), "nothing else takes it"),
        ((str(tmp_path / "p.parquet"), None, ask), "is not asked"),
        (("models:/nothing@champion",), "no MLflow store"),
        (("hub:not a name",), "hub id"),
    ):
        with pytest.raises(ConfigError, match=message):
            found(*arguments)  # type: ignore[arg-type]
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text("{}")
    with pytest.raises(DataError, match=r"has no vlm3.json.*--ask"):
        found(str(tmp_path / "bare"))
