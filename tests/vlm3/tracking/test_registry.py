"""A model version is a complete copy of an export, and the champion moves only when it is beaten fairly."""

import hashlib
import re
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow import MlflowClient

from vlm3.errors import ConfigError, DataError
from vlm3.tracking.client import connect
from vlm3.tracking.config import TrackingConfig
from vlm3.tracking.registry import CHECKSUMS, evaluation_identity, promote_if_better, register, resolve
from vlm3.tracking.runs import TrackedRun, start_run

METRIC = "eval/rooms/delta1"
FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 40, "nested/tokenizer.json": b'{"a": 1}'}


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return write_export(tmp_path / "export")


@pytest.fixture
def config(request: pytest.FixtureRequest) -> TrackingConfig:
    """A registered model of its own for every test of the shared store."""
    return TrackingConfig(registered_model=f"m-{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrackedRun:
    return start_run(TrackingConfig(), tmp_path_factory.mktemp("runs"), "registry", "evaluation")


def write_export(folder: Path, config: bytes = b"{}") -> Path:
    for name, data in (FILES | {"config.json": config}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fresh_version(
    config: TrackingConfig, run: TrackedRun, export: Path, value: float, evaluation: str = "data-1"
) -> int:
    """A version with its own run, as every training makes."""
    experiment = connect(run.uri).get_run(run.run_id).info.experiment_id
    own = connect(run.uri).create_run(experiment).info.run_id
    return register(config, run.uri, own, export, METRIC, value, evaluation)


def champion(config: TrackingConfig, run: TrackedRun) -> int:
    return int(connect(run.uri).get_model_version_by_alias(config.registered_model, "champion").version)


def test_a_registered_model_comes_back_byte_for_byte(config, run, export: Path, tmp_path: Path):
    version = fresh_version(config, run, export, 0.5)
    model = resolve(f"models:/{config.registered_model}/{version}", run.uri, tmp_path / "cache")
    assert (model.name, model.version) == (config.registered_model, str(version))
    stored = contents(model.directory)
    sums = stored.pop(CHECKSUMS).decode()
    assert stored == contents(export) == FILES
    checked = subprocess.run(["sha256sum", "-c", CHECKSUMS], cwd=model.directory, capture_output=True, check=False)
    assert checked.returncode == 0 and len(sums.splitlines()) == len(FILES)


def test_what_systems_leave_in_an_export_is_not_registered(config, run, export: Path, tmp_path: Path):
    for name in (".DS_Store", "._config.json", "nested/._tokenizer.json", ".cache/config.json"):
        (export / name).parent.mkdir(exist_ok=True)
        (export / name).write_bytes(b"left by a system")
    version = fresh_version(config, run, export, 0.5)
    model = resolve(f"models:/{config.registered_model}/{version}", run.uri, tmp_path / "cache")
    assert contents(model.directory).keys() == FILES.keys() | {CHECKSUMS}


def test_hidden_files_that_an_earlier_version_registered_may_have_changed(config, run, export: Path, tmp_path: Path):
    version = fresh_version(config, run, export, 0.5)
    source = connect(run.uri).get_model_version_download_uri(config.registered_model, str(version))
    stored = Path(source.removeprefix("file://"))
    (stored / ".DS_Store").write_bytes(b"changed since")
    with (stored / CHECKSUMS).open("a") as sums:
        sums.write(f"{hashlib.sha256(b'as it was').hexdigest()}  .DS_Store\n{'0' * 64}  nested/._gone\n")
    model = resolve(f"models:/{config.registered_model}/{version}", run.uri, tmp_path / "cache")
    assert (model.directory / "config.json").read_bytes() == FILES["config.json"]


def test_versions_count_up_and_record_their_evaluation(config, run, export: Path):
    assert [fresh_version(config, run, export, value) for value in (0.25, 0.75)] == [1, 2]
    tags = connect(run.uri).get_model_version(config.registered_model, "2").tags
    assert (tags["vlm3.metric"], float(tags["vlm3.value"]), tags["vlm3.evaluation"]) == (METRIC, 0.75, "data-1")


def test_the_champion_moves_only_to_a_better_version(config, run, export: Path):
    history = []
    for value in (0.50, 0.40, 0.50, 0.55):
        version = fresh_version(config, run, export, value)
        moved = promote_if_better(config, run.uri, version, METRIC, value)
        history.append((moved, champion(config, run)))
    assert history == [(True, 1), (False, 1), (False, 1), (True, 4)]
    reason = connect(run.uri).get_model_version(config.registered_model, "2").tags["vlm3.champion"]
    assert reason == f"champion does not move to version 2: {METRIC} 0.4000 does not beat 0.5000 of version 1"


def test_the_best_of_all_versions_has_the_alias_whoever_asks_last(config, run, export: Path):
    """Two runs end together: both are registered, then each promotes, in either order."""
    worse, best = (fresh_version(config, run, export, value) for value in (0.4, 0.9))
    assert not promote_if_better(config, run.uri, worse, METRIC, 0.4) and champion(config, run) == best
    assert promote_if_better(config, run.uri, best, METRIC, 0.9) and champion(config, run) == best
    reason = connect(run.uri).get_model_version(config.registered_model, str(worse)).tags["vlm3.champion"]
    assert reason.endswith(f"{METRIC} 0.4000 does not beat 0.9000 of version {best}")


def test_a_move_that_another_process_overwrites_is_made_again(config, run, export: Path, monkeypatch):
    """On a server nothing is locked: here another sets the alias, by what it knew, right after we did."""
    worse, best = (fresh_version(config, run, export, value) for value in (0.4, 0.9))
    move, moves = MlflowClient.set_registered_model_alias, []

    def overwritten(self, name, alias, version):
        move(self, name, alias, version)
        moves.append(version)
        if len(moves) == 1:
            move(self, name, alias, str(worse))

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", overwritten)
    assert promote_if_better(config, run.uri, best, METRIC, 0.9)
    assert champion(config, run) == best and moves == [str(best)] * 2


def test_runs_that_end_at_once_leave_the_best_as_champion(config, run, export: Path):
    values = [0.1, 0.7, 0.3, 0.5]

    def end(value: float) -> tuple[int, bool]:
        version = fresh_version(config, run, export, value)
        return version, promote_if_better(config, run.uri, version, METRIC, value)

    with ThreadPoolExecutor(len(values)) as pool:
        ended = dict(zip(values, pool.map(end, values), strict=True))
    assert champion(config, run) == ended[0.7][0] and ended[0.7][1]


def test_other_images_points_or_seeds_are_another_evaluation(config, run, export: Path):
    asked = {"images": 64, "points": 10, "seed": 0}
    first = fresh_version(config, run, export, 0.2, evaluation_identity("data", **asked))
    assert promote_if_better(config, run.uri, first, METRIC, 0.2)
    for name in asked:
        other = fresh_version(config, run, export, 0.9, evaluation_identity("data", **asked | {name: 1}))
        assert not promote_if_better(config, run.uri, other, METRIC, 0.9) and champion(config, run) == first
    fewer = fresh_version(config, run, export, 0.9, evaluation_identity("data", **asked, not_asked=12))
    assert not promote_if_better(config, run.uri, fewer, METRIC, 0.9) and champion(config, run) == first
    same = fresh_version(config, run, export, 0.3, evaluation_identity("data", **asked, not_asked=0))
    assert promote_if_better(config, run.uri, same, METRIC, 0.3), "those of other evaluations are not in its way"


def test_a_version_registered_with_the_data_alone_is_not_comparable_and_the_reason_says_so(config, run, export: Path):
    earlier = fresh_version(config, run, export, 0.2, "data")
    assert promote_if_better(config, run.uri, earlier, METRIC, 0.2)
    later = fresh_version(config, run, export, 0.9, evaluation_identity("data", 64, 10, 0))
    assert not promote_if_better(config, run.uri, later, METRIC, 0.9)
    client = connect(run.uri)
    reason = client.get_model_version(config.registered_model, str(later)).tags["vlm3.champion"]
    assert re.search(r"not comparable: version 1 .* how many images and points .* is not recorded", reason)
    client.delete_registered_model_alias(config.registered_model, "champion")
    assert promote_if_better(config, run.uri, later, METRIC, 0.9), "as the reason advises"


def test_a_value_on_other_evaluation_data_does_not_move_the_champion(config, run, export: Path):
    first = fresh_version(config, run, export, 0.2)
    assert promote_if_better(config, run.uri, first, METRIC, 0.2)
    other = fresh_version(config, run, export, 0.9, evaluation="data-2")
    assert not promote_if_better(config, run.uri, other, METRIC, 0.9)
    assert champion(config, run) == first
    assert (
        "not comparable"
        in connect(run.uri).get_model_version(config.registered_model, str(other)).tags["vlm3.champion"]
    )


def test_another_metric_does_not_move_the_champion(config, run, export: Path):
    first = fresh_version(config, run, export, 0.2)
    promote_if_better(config, run.uri, first, METRIC, 0.2)
    assert not promote_if_better(config, run.uri, fresh_version(config, run, export, 0.9), "eval/rooms/delta2", 0.9)
    assert champion(config, run) == first


def test_a_nan_never_becomes_champion_and_does_not_block_the_next(config, run, export: Path):
    nan = fresh_version(config, run, export, float("nan"))
    assert not promote_if_better(config, run.uri, nan, METRIC, float("nan"))
    number = fresh_version(config, run, export, 0.2)
    assert promote_if_better(config, run.uri, number, METRIC, 0.2)
    assert champion(config, run) == number


def test_the_alias_follows_into_resolve_and_the_cache_is_used_again(config, run, export: Path, tmp_path: Path):
    uri = f"models:/{config.registered_model}@champion"
    promote_if_better(config, run.uri, fresh_version(config, run, export, 0.3), METRIC, 0.3)
    first = resolve(uri, run.uri, tmp_path / "cache")
    stamp = (first.directory / "config.json").stat().st_mtime_ns
    assert resolve(uri, run.uri, tmp_path / "cache").directory == first.directory
    assert (first.directory / "config.json").stat().st_mtime_ns == stamp
    better = write_export(tmp_path / "better", b'{"better": true}')
    promote_if_better(config, run.uri, fresh_version(config, run, better, 0.4), METRIC, 0.4)
    second = resolve(uri, run.uri, tmp_path / "cache")
    assert second.version == "2" and (second.directory / "config.json").read_bytes() == b'{"better": true}'


def test_processes_that_resolve_at_once_get_the_same_directory(config, run, export: Path, tmp_path: Path):
    version = fresh_version(config, run, export, 0.3)
    found: list[Path] = []

    def fetch() -> None:
        found.append(resolve(f"models:/{config.registered_model}/{version}", run.uri, tmp_path / "cache").directory)

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [found[0].name]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda model: (model / "model.safetensors").write_bytes(b"short"), "model.safetensors differs"),
        (lambda model: (model / "nested" / "tokenizer.json").unlink(), "nested/tokenizer.json is missing"),
        (lambda model: (model / CHECKSUMS).unlink(), "not stored completely"),
    ],
    ids=["changed", "missing", "half-copied"],
)
def test_damaged_artifacts_are_refused_and_leave_no_cache(
    config, run, export: Path, tmp_path: Path, damage, message: str
):
    version = fresh_version(config, run, export, 0.3)
    source = connect(run.uri).get_model_version_download_uri(config.registered_model, str(version))
    damage(Path(source.removeprefix("file://")))
    with pytest.raises(DataError, match=message):
        resolve(f"models:/{config.registered_model}/{version}", run.uri, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_local_directory_resolves_to_itself(run, export: Path, tmp_path: Path):
    model = resolve(str(export), run.uri, tmp_path / "cache")
    assert (model.name, model.version, model.directory) == ("export", "local", export)
    assert not (tmp_path / "cache").exists()


def test_what_does_not_exist_is_named_with_what_does(config, run, export: Path, tmp_path: Path):
    fresh_version(config, run, export, 0.3)
    name = config.registered_model
    cases = {
        "models:/absent@champion": (ConfigError, rf"no registered model 'absent' \(it has: .*{name}"),
        f"models:/{name}@champion": (ConfigError, "has the alias 'champion' .aliases: none"),
        f"models:/{name}/99": (ConfigError, "no version 99"),
        f"models:/{name}": (ConfigError, "expected models:/NAME@ALIAS"),
        str(tmp_path / "nowhere"): (DataError, r"or a directory with a config\.json"),
    }
    for uri, (error, message) in cases.items():
        with pytest.raises(error, match=message):
            resolve(uri, run.uri, tmp_path / "cache")


def test_resolving_from_a_store_that_does_not_exist_creates_none(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"no MLflow store at .*/runs/mlflow\.db: train a model first"):
        resolve("models:/x@champion", f"sqlite:///{tmp_path}/runs/mlflow.db", tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_without_a_model_is_not_registered(config, run, tmp_path: Path):
    (tmp_path / "weights.bin").write_bytes(b"x")
    with pytest.raises(DataError, match=r"expected an exported model directory with a config\.json, found 1 files"):
        register(config, run.uri, run.run_id, tmp_path, METRIC, 0.1, "data-1")


def test_a_server_registers_promotes_and_serves_models(mlflow_server: str, export: Path, tmp_path: Path):
    config = TrackingConfig(uri=mlflow_server, registered_model="remote-depth")
    with start_run(config, tmp_path, "remote", "train") as run:
        version = register(config, mlflow_server, run.run_id, export, METRIC, 0.6, "data-1")
        assert promote_if_better(config, mlflow_server, version, METRIC, 0.6)
    model = resolve("models:/remote-depth@champion", mlflow_server, tmp_path / "cache")
    assert contents(model.directory).keys() - {CHECKSUMS} == FILES.keys()
    assert (model.directory / "model.safetensors").read_bytes() == FILES["model.safetensors"]
