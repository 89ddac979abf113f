"""Training runs through the real Ray Train, Ray Data, DeepSpeed and MLflow."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from pipelines.run_end import TrainResult
from pipelines.runs import RunRequest
from pipelines.sources import components, open_sources
from pipelines.train import run_training
from tests.job_runs import RayVariables, run_job
from vlm3.config import dump_yaml
from vlm3.errors import CheckpointError, ConfigError, DataError
from vlm3.infer.loading import load_predictor
from vlm3.mixture.plan import ComponentSize, MixturePlan
from vlm3.models.load import resolve_model
from vlm3.storage.split import Split
from vlm3.stream.clip_reader import ClipReader
from vlm3.stream.samples import SampleBuilder, keep_encoder
from vlm3.tasks.depth.answering import answer_depth
from vlm3.tokens.encode import ConversationEncoder
from vlm3.tokens.step_row import StepRow
from vlm3.tokens.vision import VisionSpec
from vlm3.tracking.runs import tracking_uri
from vlm3.train.checkpoint import read_state
from vlm3.train.evaluate import held_out_frames
from vlm3.train.progress import read_summary
from vlm3.train.recipe import Recipe
from vlm3.train.resume import latest_checkpoint

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {"scenes": 20, "frames_per_scene": 4, "width_px": 96, "height_px": 72}


def recipe_data(**train: object) -> dict[str, object]:
    return {
        "name": "small",
        "sources": {
            "rooms": {"weight": 0.7, "render": {**ROOMS, "seed": 1}},
            "studios": {"weight": 0.3, "render": {**ROOMS, "seed": 2}},
        },
        "tasks": {
            "depth": {
                "focal_px": 50,
                "ask": {"points": 4, "reference_range": 100, "decimals": 1, "templates": "compact-1"},
            }
        },
        "model": {"id": "tiny"},
        "optimizer": {"learning_rate": 2.0e-3, "gradient_clip": 1.0},
        "engine": {"zero_stage": 2, "micro_batch": 4},
        "train": {"steps": 6, "global_batch": 16, "workers": 2, "cpus_per_worker": 0.5, "checkpoint_every_steps": 3}
        | {"gallery_samples": 2, **train},
        "evaluation": {"every_steps": 6, "images": 3, "points": 2, "sources": ["rooms"]},
    }


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def finished(joined: RayVariables, runs_dir: Path) -> tuple[Recipe, TrainResult]:
    """A run as a user starts it, on a cluster that is there; what it says of itself in its files and in MLflow."""
    file = runs_dir / "small.yaml"
    file.write_text(dump_yaml(recipe_data()))
    done = run_job(joined, "train", file, "--runs", runs_dir, "--name", "finished")
    assert done.returncode == 0, done.stderr[-4000:]
    run_dir = runs_dir / "train" / "finished"
    run_id = json.loads((run_dir / "run.json").read_text())["run_id"]
    champion = MlflowClient(f"sqlite:///{runs_dir}/mlflow.db").get_model_version_by_alias("vlm3-depth", "champion")
    result = TrainResult(
        run_id, read_summary(run_dir), run_dir / "export", int(champion.version), champion.run_id == run_id
    )
    return Recipe.parse(recipe_data(), "test"), result


def test_a_run_trains_evaluates_registers_and_leaves_an_export(finished, runs_dir: Path):
    recipe, result = finished
    assert result.metrics["loss_last"] < result.metrics["loss_first"]
    assert result.version == 1 and result.promoted
    run = MlflowClient(tracking_uri(recipe.tracking, runs_dir)).get_run(result.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["train.global_batch"] == "16"
    history = MlflowClient(tracking_uri(recipe.tracking, runs_dir)).get_metric_history(result.run_id, "train/loss")
    assert [point.step for point in history] == [1, 2, 3, 4, 5, 6]
    assert {item.dataset.name for item in run.inputs.dataset_inputs} == {"rooms", "studios"}


def test_the_ledger_of_a_run_holds_exactly_its_positions(finished, runs_dir: Path):
    state = read_state(latest_checkpoint(runs_dir / "train" / "finished"))
    assert (state.step, state.ledger.watermark) == (6, 96)
    assert state.ledger.intervals == ()


def test_shares_that_workers_received_are_those_asked_for(finished):
    metrics = finished[1].metrics
    assert metrics["realised/rooms/depth"] == pytest.approx(0.7, abs=1 / 96)
    assert metrics["mixture_worst_window_error"] < 100 * 2 / 96


def test_the_export_answers_what_evaluation_would_ask(finished, runs_dir: Path):
    recipe, result = finished
    source = open_sources(recipe, runs_dir)["rooms"]
    predictor = load_predictor(result.export_dir, "cpu")
    frame = next(iter(held_out_frames(source, 1)))
    answers = answer_depth(predictor, frame.encoded_image, frame.camera, frame.points[:3, :2])
    assert all(answer.status in ("ok", "unreadable", "cut") for answer in answers)


def test_a_name_is_used_once_and_resuming_needs_the_same_recipe(finished, runs_dir: Path):
    recipe, _ = finished
    with pytest.raises(ConfigError, match="--resume finished"):
        run_training(recipe, RunRequest("finished", runs_dir))
    with pytest.raises(CheckpointError, match="no such run"):
        run_training(recipe, RunRequest("never", runs_dir, resume=True))
    other = Recipe.parse(recipe_data(steps=9), "test")
    with pytest.raises(CheckpointError, match="another recipe"):
        run_training(other, RunRequest("finished", runs_dir, resume=True))


def test_a_finished_run_is_left_as_it_is(finished, runs_dir: Path):
    recipe, result = finished
    again = run_training(recipe, RunRequest("finished", runs_dir, resume=True))
    assert (again.run_id, again.version, again.metrics) == (result.run_id, result.version, result.metrics)


def test_what_was_trained_but_not_registered_is_registered(finished, runs_dir: Path):
    recipe, result = finished
    client = MlflowClient(tracking_uri(recipe.tracking, runs_dir))
    client.delete_model_version(recipe.tracking.registered_model, str(result.version))
    started_s = (runs_dir / "train" / "finished" / "export" / "config.json").stat().st_mtime
    data = recipe_data()
    other = Recipe.parse(data | {"evaluation": {**data["evaluation"], "points": 1}}, "test")
    with pytest.raises(CheckpointError, match=r"its scores are of 3 images and 2 points .* evaluation.points=2"):
        run_training(other, RunRequest("finished", runs_dir, resume=True))
    again = run_training(recipe, RunRequest("finished", runs_dir, resume=True))
    assert again.version == result.version + 1 and again.promoted and again.metrics == result.metrics
    assert (runs_dir / "train" / "finished" / "export" / "config.json").stat().st_mtime == started_s, "nothing trained"
    assert client.get_run(result.run_id).info.status == "FINISHED"


@pytest.mark.long
def test_a_run_killed_after_its_last_checkpoint_is_evaluated_exported_and_registered(finished, runs_dir: Path):
    recipe, result = finished
    run_dir = runs_dir / "train" / "finished"
    client = MlflowClient(tracking_uri(recipe.tracking, runs_dir))
    for version in client.search_model_versions(f"run_id='{result.run_id}'"):
        client.delete_model_version(version.name, version.version)
    (run_dir / "summary.json").unlink()
    weights = (run_dir / "export" / "model.safetensors").read_bytes()
    shutil.rmtree(run_dir / "export")
    again = run_training(recipe, RunRequest("finished", runs_dir, resume=True))
    assert again.version is not None and again.promoted
    assert (run_dir / "export" / "model.safetensors").read_bytes() == weights
    known = {key: value for key, value in result.metrics.items() if key.startswith(("eval/", "realised/", "asked/"))}
    assert known == {key: again.metrics[key] for key in known}
    assert "loss_first" not in again.metrics, "no step was seen"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"train": {"workers": 7}, "engine": {"micro_batch": 1}}, ConfigError, "train.global_batch 16"),
        ({"train": {"device": "cuda"}}, ConfigError, "GPUs"),
        ({"train": {"workers": 2, "cpus_per_worker": 8.0}}, ConfigError, "starve"),
        ({"sources": {"rooms": {"weight": 0.0}, "studios": {"weight": 0.0}}}, ConfigError, "draws nothing"),
        ({"evaluation": {"sources": ["romos"]}}, ConfigError, "did you mean 'rooms'"),
        ({"evaluation": {"primary": "romos"}}, ConfigError, "evaluation.primary: 'romos' is not evaluated.*'rooms'"),
        ({"evaluation": {"primary": "studios"}}, ConfigError, "evaluation.primary: 'studios' is not evaluated"),
        ({"sources": {"gone": {"uri": "/nowhere/at/all", "weight": 1.0}}}, DataError, "/nowhere/at/all"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_starts(finished, runs_dir: Path, change, error, message):
    data = recipe_data()
    for part, values in change.items():
        for key, value in values.items():
            current = data[part].get(key)
            data[part][key] = current | value if isinstance(current, dict) else value
    with pytest.raises(error, match=message):
        run_training(Recipe.parse(data, "test"), RunRequest("refused", runs_dir))
    assert not (runs_dir / "train" / "refused").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "qwen3_vl", "quantization_config": {"quant_method": "fp8"}}, r"quantized weights \(fp8\)"),
        ({"model_type": "qwen2_5_vl"}, "holds a model of type 'qwen2_5_vl'; expected 'qwen3_vl'"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused_before_anything_is_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, object], message: str
):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # joining a cluster would fail with another message
    (tmp_path / "config.json").write_text(json.dumps(config))
    recipe = Recipe.parse(recipe_data() | {"model": {"id": str(tmp_path)}}, "test")
    with pytest.raises(ConfigError, match=message) as refused:
        run_training(recipe, RunRequest("refused", tmp_path / "runs"))
    assert "\n" not in str(refused.value)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["locks"]


def test_a_source_marked_eval_cannot_be_given_weight(finished, runs_dir: Path, data_dir: Path, tmp_path: Path):
    from pipelines.ingest import IngestConfig, ingest
    from vlm3.sources.reader import open_reader

    uri = str(tmp_path / "ibims1")
    ingest(open_reader(data_dir / "depth_ibims1", "ibims1"), uri, IngestConfig(role="eval"))
    data = recipe_data()
    data["sources"]["ibims1"] = {"uri": uri, "weight": 0.5}
    with pytest.raises(ConfigError, match="marked eval"):
        run_training(Recipe.parse(data, "test"), RunRequest("refused", runs_dir))


def test_a_corrupt_shard_stops_the_run_with_its_name(finished, runs_dir: Path, tmp_path: Path):
    recipe = Recipe.parse(recipe_data(max_restarts=0, workers=1), "test")
    for name in ("data", "models"):
        shutil.copytree(runs_dir / name, tmp_path / name)
    shards = list((tmp_path / "data" / "rooms").glob("train-*.parquet"))
    assert shards
    for path in shards:
        broken = bytearray(path.read_bytes())
        broken[100 : len(broken) // 2] = bytes(len(broken) // 2 - 100)
        path.write_bytes(broken)
    with pytest.raises(DataError, match="rooms"):
        run_training(recipe, RunRequest("broken", tmp_path))


def test_rows_of_a_position_do_not_depend_on_the_range_they_are_read_in(finished, runs_dir: Path):
    recipe, _ = finished
    sources = open_sources(recipe, runs_dir)
    model_dir = resolve_model(recipe.model, runs_dir / "models", recipe.seed)
    parts, weights = components(recipe, sources, VisionSpec.from_directory(model_dir))
    sizes = [ComponentSize(p.name, p.source.clips(Split.TRAIN), p.source.slots, p.source.fingerprint) for p in parts]
    builder, plan = (
        SampleBuilder(ClipReader(parts, 2), keep_encoder(ConversationEncoder.from_directory(model_dir), runs_dir)),
        MixturePlan.start(sizes, weights, 0),
    )

    def rows(*groups: np.ndarray) -> list[StepRow]:
        return [row for parcel in builder.rows(plan, groups) for row in parcel.rows]

    whole = rows(np.arange(24))
    pieces = [row for start in range(0, 24, 5) for row in rows(np.arange(start, min(start + 5, 24)))]
    for one, other in zip(whole, pieces, strict=True):
        assert one.position == other.position
        assert np.array_equal(one.input_ids, other.input_ids)
        assert np.array_equal(one.images[0], other.images[0])
