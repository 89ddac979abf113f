"""Registers exported models as versions of a registered model, and gives the alias `champion` to the best of them."""

import hashlib
import logging
import math
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Self

from vlm3.errors import ConfigError, DataError
from vlm3.log import get_logger
from vlm3.models.directory import require_whole_model
from vlm3.storage.atomic import publish_directory
from vlm3.storage.visible import files_below, is_hidden
from vlm3.tracking.client import connect, connect_existing, retry_locked, shown, store_lock
from vlm3.tracking.config import TrackingConfig

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MODEL_FOLDER = "model"
CHAMPION = "champion"
"""Alias of the best version."""
CHECKSUMS = "SHA256SUMS"
"""File of checksums in the format of `sha256sum -c`; written last, so that a half-copied model has none."""
METRIC_TAG = "vlm3.metric"
VALUE_TAG = "vlm3.value"
EVALUATION_TAG = "vlm3.evaluation"
DECISION_TAG = "vlm3.champion"
ASKED = " images="
"""Part of every evaluation's identity; versions of earlier releases have only the data's fingerprint."""
LARGE_BYTES = 100_000_000
"""Size from which copying a file takes so long that it is reported to the user."""

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model in a local directory."""

    name: str
    version: str
    """Number of the registered version; `local` for a directory."""
    directory: Path
    """A Hugging Face model directory."""
    run_id: str | None
    """Id of the run that made a registered version; None for a directory."""


def evaluation_identity(fingerprint: str, images: int, points: int, seed: int, not_asked: int = 0) -> str:
    """Identity of an evaluation: two values can be compared only if theirs is the same.

    Args:
        fingerprint: fingerprint of the evaluation data.
        images: number of images that were asked about.
        points: number of points per image.
        seed: seed by which they were chosen.
        not_asked: number of points that this model could not be asked about. They are not scored, so a value with
            another number is measured on other points.
    """
    asked = f"{fingerprint}{ASKED}{images} points={points} seed={seed}"
    return f"{asked} not_asked={not_asked}" if not_asked else asked


def register(
    config: TrackingConfig, uri: str, run_id: str, export_dir: Path, metric_name: str, value: float, evaluation: str
) -> int:
    """Store an exported Hugging Face directory as artifacts of its run, and make it a model version.

    Args:
        config: names the registered model.
        uri: the store.
        run_id: the run that made the export.
        export_dir: the directory.
        metric_name: what `value` measures.
        value: the evaluation's result.
        evaluation: the evaluation's `evaluation_identity`; only values with the same one are ever compared.

    Returns:
        The new version's number.

    Raises:
        DataError: `export_dir` is no model directory.
    """
    files = files_below(export_dir)
    if export_dir / "config.json" not in files:
        raise DataError(
            f"{export_dir}: expected an exported model directory with a config.json, found {len(files)} files"
        )
    client = connect(uri)
    sums = []
    for number, path in enumerate(files, 1):
        relative, size = path.relative_to(export_dir), path.stat().st_size
        # Files that take only a moment are not worth a line.
        level = logging.INFO if size >= LARGE_BYTES else logging.DEBUG
        place = f"file {number} of {len(files)}"
        logger.log(level, "registering %s: %s, %s (%.1f MB)", config.registered_model, place, relative, size / 1e6)
        folder = (Path(MODEL_FOLDER) / relative.parent).as_posix()
        retry_locked(client.log_artifact, run_id, str(path), folder)
        sums.append(f"{_sha256(path)}  {relative.as_posix()}\n")
    retry_locked(client.log_text, run_id, "".join(sums), f"{MODEL_FOLDER}/{CHECKSUMS}")
    _create_registered_model(client, config.registered_model)
    artifacts = retry_locked(client.get_run, run_id).info.artifact_uri.rstrip("/")
    tags = {METRIC_TAG: metric_name, VALUE_TAG: repr(float(value)), EVALUATION_TAG: evaluation}
    version = retry_locked(
        client.create_model_version, config.registered_model, f"{artifacts}/{MODEL_FOLDER}", run_id=run_id, tags=tags
    )
    return int(version.version)


def version_of_run(config: TrackingConfig, uri: str, run_id: str) -> int | None:
    """The newest version of the configured model that a run registered, None if there is none."""
    found = retry_locked(connect(uri).search_model_versions, f"run_id='{run_id}'")
    return max((int(entry.version) for entry in found if entry.name == config.registered_model), default=None)


def promote_if_better(config: TrackingConfig, uri: str, version: int, metric_name: str, value: float) -> bool:
    """Give the alias `CHAMPION` to the best version that is comparable with `version`.

    A greater value is better; versions are comparable if their values are of the same metric on the same evaluation.
    The alias stays where it is if its holder is not comparable, or no worse than the others. Runs that end together
    leave it at the best of them: all versions are looked at, and again after each move. The reason is logged and kept
    as a tag of `version`.

    Returns:
        True if `version` has the alias now.
    """
    client = connect(uri)
    name = config.registered_model
    evaluation = retry_locked(client.get_model_version, name, str(version)).tags.get(EVALUATION_TAG)
    own = _Standing(version, metric_name, value, evaluation)
    with store_lock(uri):
        before = holder = _holder(client, name)
        # A server has no lock: another process may have set the alias before it could see this version.
        while True:
            best = _best(client, name, own, holder)
            if best is None or (holder is not None and holder.version == best):
                break
            if best != version:
                logger.info("%s: %s moves to version %s, the best", name, CHAMPION, best)
            retry_locked(client.set_registered_model_alias, name, CHAMPION, str(best))
            holder = _holder(client, name)
        leads = holder is not None and holder.version == version
        verdict = "moves to" if leads else "does not move to"
        reason = f"{CHAMPION} {verdict} version {version}: {_reason(own, before, holder)}"
        retry_locked(client.set_model_version_tag, name, str(version), DECISION_TAG, reason)
    logger.info("%s: %s", name, reason)
    return leads


def resolve(model_uri: str, uri: str, cache_dir: Path) -> ResolvedModel:
    """Find a model, and fetch it into a local directory if it is a registered one.

    Args:
        model_uri: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, or a local model directory.
        uri: the store that has the registered model.
        cache_dir: folder for registered models; a version already there is used again.

    Raises:
        ConfigError: there is no such store, model, alias or version, or a directory holds quantized weights or an
            adapter.
        DataError: a directory holds no model, or artifacts are missing or damaged.
    """
    if not model_uri.startswith("models:"):
        directory = Path(model_uri)
        require_whole_model(directory)
        if not (directory / "config.json").is_file():
            raise DataError(
                f"model {model_uri}: expected models:/NAME@ALIAS, models:/NAME/VERSION"
                " or a directory with a config.json"
            )
        return ResolvedModel(directory.resolve().name, "local", directory.resolve(), None)
    client = connect_existing(uri)
    found = _find(client, model_uri, uri)
    target = cache_dir / f"{found.name}-{found.version}-{found.run_id}"
    if not target.is_dir():
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_dir, prefix=".download-") as scratch:
            copy = _download(client, found, uri, Path(scratch))
            _verify(copy, f"{model_uri} (version {found.version} at {uri})")
            # If another process was faster, its copy has the same bytes.
            publish_directory(copy, target)
    return ResolvedModel(found.name, str(found.version), target, found.run_id)


@dataclass(frozen=True, slots=True)
class _Standing:
    """A version with its measured value."""

    version: int
    metric_name: str | None
    value: float
    evaluation: str | None

    @classmethod
    def of(cls, found: "ModelVersion") -> Self:
        tags = found.tags
        value = float(tags.get(VALUE_TAG, "nan"))
        return cls(int(found.version), tags.get(METRIC_TAG), value, tags.get(EVALUATION_TAG))

    def comparable(self, other: Self) -> bool:
        return (self.metric_name, self.evaluation) == (other.metric_name, other.evaluation)


def _best(client: "MlflowClient", name: str, own: _Standing, holder: _Standing | None) -> int | None:
    """The version that should have the alias; None to leave it. Among equals the holder, else the oldest."""
    if holder is not None and holder.version != own.version and not holder.comparable(own):
        return None
    value = {standing.version: standing.value for standing in _standings(client, name) if standing.comparable(own)}
    value[own.version] = own.value
    finite = sorted(version for version in value if math.isfinite(value[version]))
    top = max((value[version] for version in finite), default=None)
    if holder is not None and value.get(holder.version) == top:
        return holder.version
    return next((version for version in finite if value[version] == top), None)


def _standings(client: "MlflowClient", name: str) -> Iterator[_Standing]:
    token = None
    while True:
        page = retry_locked(client.search_model_versions, f"name = '{name}'", page_token=token)
        yield from map(_Standing.of, page)
        if not (token := page.token):
            return


def _holder(client: "MlflowClient", name: str) -> _Standing | None:
    held = retry_locked(client.get_registered_model, name).aliases.get(CHAMPION)
    return None if held is None else _Standing.of(retry_locked(client.get_model_version, name, held))


def _reason(own: _Standing, before: _Standing | None, holder: _Standing | None) -> str:
    """Why `own` has the alias or not; `before` had it and `holder` has it now."""
    if not math.isfinite(own.value):
        return f"{own.metric_name} is {own.value}"
    says = f"{own.metric_name} {own.value:.4f}"
    if holder is None or holder.version == own.version:
        if before is None or before.version == own.version:
            return f"{says} is the best so far"
        return f"{says} beats {before.value:.4f} of version {before.version}"
    if holder.comparable(own):
        return f"{says} does not beat {holder.value:.4f} of version {holder.version}"
    theirs = f"was measured by {holder.metric_name} on {holder.evaluation}"
    if holder.evaluation is None or ASKED not in holder.evaluation:
        theirs += ", and how many images and points were used, and with which seed, is not recorded"
    return (
        f"not comparable: version {holder.version} {theirs}; this one by {own.metric_name} on {own.evaluation}."
        " Delete the alias, and the next run's best version gets it"
    )


def _create_registered_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        retry_locked(client.create_registered_model, name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _find(client: "MlflowClient", model_uri: str, uri: str) -> "ModelVersion":
    from mlflow.exceptions import MlflowException

    parts = re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))", model_uri)
    if parts is None:
        raise ConfigError(
            f"model {model_uri}: expected models:/NAME@ALIAS or models:/NAME/VERSION, e.g. models:/vlm3-depth@champion"
        )
    name, alias, version = parts.groups()
    try:
        model = retry_locked(client.get_registered_model, name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise ConfigError(f"model {model_uri}: the MLflow store {shown(uri)} does not answer: {error}") from error
        known = ", ".join(entry.name for entry in client.search_registered_models()) or "none"
        raise ConfigError(
            f"model {model_uri}: {shown(uri)} has no registered model {name!r} (it has: {known});"
            " train one first with jobs/train.py"
        ) from error
    if alias is not None:
        if alias not in model.aliases:
            known = ", ".join(sorted(model.aliases)) or "none"
            raise ConfigError(f"model {model_uri}: no version of {name!r} has the alias {alias!r} (aliases: {known})")
        version = model.aliases[alias]
    try:
        return retry_locked(client.get_model_version, name, str(version))
    except MlflowException as error:
        raise ConfigError(f"model {model_uri}: {shown(uri)} has no version {version} of {name!r}") from error


def _download(client: "MlflowClient", found: "ModelVersion", uri: str, scratch: Path) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    source = client.get_model_version_download_uri(found.name, found.version)
    logger.info("fetching %s version %s from %s", found.name, found.version, source)
    try:
        return Path(download_artifacts(artifact_uri=source, dst_path=str(scratch), tracking_uri=uri))
    except (MlflowException, OSError) as error:
        raise DataError(
            f"artifacts of {found.name} version {found.version} cannot be read from {source}: {error}"
        ) from error


def _verify(directory: Path, where: str) -> None:
    """Compare every file with the checksums written when the model was registered.

    Hidden files are skipped: earlier releases registered them too, but operating systems may change or remove them.
    """
    sums = directory / CHECKSUMS
    if not sums.is_file():
        raise DataError(f"{where}: {CHECKSUMS} is missing, the model was not stored completely; register it again")
    for line in sums.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        if is_hidden(PurePosixPath(name)):
            continue
        path = directory / name
        if not path.is_file():
            raise DataError(f"{where}: {name} is missing; register the model again")
        if _sha256(path) != digest:
            raise DataError(f"{where}: {name} differs from what was registered; register the model again")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
