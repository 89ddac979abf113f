"""One MLflow run: parameters, metrics, pictures, data sets, and a final status."""

import getpass
import importlib.metadata
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit
from urllib.request import url2pathname

from vlm3.config import dump_yaml, flatten
from vlm3.errors import ConfigError
from vlm3.log import get_logger
from vlm3.tracking.client import connect, experiment_id, prepare_tracking, retry_locked, shown, tracking_uri
from vlm3.tracking.config import TrackingConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["RunKind", "TrackedRun", "attach_run", "prepare_tracking", "start_run", "tracking_uri"]

RunKind = Literal["train", "trial", "search", "evaluation"]
KIND_TAG = "vlm3.kind"
MAX_PARAM_CHARACTERS = 500
"""Limit of older MLflow servers; the whole recipe is an artifact anyway."""
METRICS_BATCH = 1000
BATCH = 100
"""MLflow's limit of params and tags per request."""

logger = get_logger(__name__)


class TrackedRun:
    """An open MLflow run, addressed by id, usable from any thread.

    As a context manager it ends the run: FINISHED, FAILED on an exception, KILLED on an interrupt. Without `with` it
    only logs, and never ends the run.
    """

    def __init__(self, uri: str, run_id: str, system_metrics: bool = False) -> None:
        """Address run `run_id` of the store at `uri`; with `system_metrics`, `with` records the machine's load too."""
        self._client = connect(uri)
        self._system_metrics = system_metrics
        self._monitor: Any = None
        self.uri = uri
        self.run_id = run_id

    def __enter__(self) -> Self:
        if self._system_metrics:
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            self._monitor = SystemMetricsMonitor(self.run_id, tracking_uri=self.uri, resume_logging=True)
            self._monitor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._monitor is not None:
            self._monitor.finish()
        status = "FINISHED"
        if error is not None:
            status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            self.tags({"vlm3.error": f"{type(error).__name__}: {error}"[:1000]})
        retry_locked(self._client.set_terminated, self.run_id, status=status)

    def params(self, data: Mapping[str, Any], artifact: str = "recipe.yaml") -> None:
        """Log nested configuration as `a.b.c` parameters, and in full as a YAML artifact.

        A parameter of MLflow never changes: when a run goes on with other values, the first ones stay and the artifact
        holds the newest.
        """
        from mlflow.entities import Param

        known = retry_locked(self._client.get_run, self.run_id).data.params
        flat = {_key(path): _bounded(value) for path, value in flatten(data)}
        changed = [key for key, value in flat.items() if known.get(key, value) != value]
        if changed:
            logger.warning(
                "run %s goes on with other values of %s; MLflow keeps the first", self.run_id, ", ".join(changed)
            )
        fresh = [Param(key, value) for key, value in flat.items() if key not in known]
        for start in range(0, len(fresh), BATCH):
            retry_locked(self._client.log_batch, self.run_id, params=fresh[start : start + BATCH])
        self.text(artifact, dump_yaml(dict(data)))

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log one value per name at `step`, in as few requests as MLflow allows."""
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        batch = [Metric(_key(name), float(value), now_ms, step) for name, value in values.items()]
        for start in range(0, len(batch), METRICS_BATCH):
            retry_locked(self._client.log_batch, self.run_id, metrics=batch[start : start + METRICS_BATCH])

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags, replacing those of the same name."""
        from mlflow.entities import RunTag

        retry_locked(
            self._client.log_batch, self.run_id, tags=[RunTag(_key(name), value) for name, value in values.items()]
        )

    def text(self, name: str, text: str) -> None:
        """Store `text` as artifact `name`, e.g. `mixture.yaml`."""
        retry_locked(self._client.log_text, self.run_id, text, name)

    def file(self, path: Path, folder: str | None = None) -> None:
        """Store a file as an artifact in `folder`; default: at the top."""
        retry_locked(self._client.log_artifact, self.run_id, str(path), folder)

    def figure(self, name: str, figure: "Figure") -> None:
        """Store a matplotlib figure as artifact `name` (`.png` or `.svg`)."""
        retry_locked(self._client.log_figure, self.run_id, figure, name)

    def place(self, name: str) -> str:
        """Path of artifact `name` if artifacts are local files, else its URI."""
        uri = f"{retry_locked(self._client.get_run, self.run_id).info.artifact_uri.rstrip('/')}/{name}"
        return url2pathname(urlsplit(uri).path) if uri.startswith("file:") else uri

    def dataset(self, name: str, uri: str, fingerprint: str, context: str) -> None:
        """Record that the run read data set `name` at `uri`, with this content, for `context` (train, evaluation)."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        scheme = uri.partition("://")[0] if "://" in uri else "local"
        dataset = Dataset(name=name, digest=fingerprint[:36], source_type=scheme, source=json.dumps({"uri": uri}))
        entry = DatasetInput(dataset, tags=[InputTag("mlflow.data.context", context)])
        retry_locked(self._client.log_inputs, self.run_id, datasets=[entry])


def start_run(
    config: TrackingConfig,
    runs_dir: Path,
    name: str,
    kind: RunKind,
    parent_run_id: str | None = None,
    run_id: str | None = None,
) -> TrackedRun:
    """Start a run, or go on with run `run_id`.

    Args:
        config: settings that name the store and the experiment.
        runs_dir: folder of the embedded store and of its artifacts.
        name: name in the dashboard.
        kind: what the run does; kept as tag `vlm3.kind`. A `train` run records system metrics too.
        parent_run_id: the run under which the dashboard nests this one.
        run_id: an existing run to continue.

    Raises:
        ConfigError: the store does not answer, refuses, or has no run `run_id`.
    """
    from mlflow.exceptions import MlflowException

    uri = tracking_uri(config, runs_dir)
    experiment = experiment_id(config, runs_dir, uri)
    client = connect(uri)
    if run_id is not None:
        try:
            retry_locked(client.update_run, run_id, status="RUNNING")
        except MlflowException as error:
            raise ConfigError(f"the MLflow store {shown(uri)} has no run {run_id} to go on with: {error}") from error
        return TrackedRun(uri, run_id, system_metrics=kind == "train")
    tags = {
        KIND_TAG: kind,
        "mlflow.user": _user(),
        "mlflow.source.name": Path(sys.argv[0]).name,
        "mlflow.source.type": "LOCAL",
        **_code_revision(),
    }
    if parent_run_id is not None:
        tags["mlflow.parentRunId"] = parent_run_id
    run = retry_locked(client.create_run, experiment, tags=tags, run_name=name)
    return TrackedRun(uri, run.info.run_id, system_metrics=kind == "train")


def attach_run(uri: str, run_id: str) -> TrackedRun:
    """Log into a run that another process owns and ends, as a worker does with its driver's run."""
    return TrackedRun(uri, run_id)


def _key(name: str) -> str:
    """`name` with characters that MLflow refuses replaced, cut to 250 characters."""
    return re.sub(r"[^\w\-./ :]", "_", name)[:250]


def _bounded(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= MAX_PARAM_CHARACTERS else text[: MAX_PARAM_CHARACTERS - 1] + "…"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, the user id may have no name
        return "unknown"


def _code_revision() -> dict[str, str]:
    """Tags that name the code: the package's version, and the git commit when the package runs from a checkout."""
    tags = {"vlm3.version": importlib.metadata.version("vlm3")}
    source = Path(__file__)
    commands = {
        "tracked": ["ls-files", "--error-unmatch", source.name],
        "head": ["rev-parse", "HEAD"],
        "status": ["status", "--porcelain", "-uno"],
    }
    answers = {}
    for name, command in commands.items():
        try:
            done = subprocess.run(
                ["git", *command], cwd=source.parent, capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return tags  # no git, or installed as a wheel
        answers[name] = done.stdout.strip()
    return {**tags, "mlflow.source.git.commit": answers["head"], "vlm3.git.dirty": str(bool(answers["status"])).lower()}
