"""What is measured: a model by directory, registry, hub or endpoint, or a file of predictions."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from vlm3.asking.calibration import read_calibration
from vlm3.asking.items import Item
from vlm3.asking.predictor import Predictor
from vlm3.asking.spec import FILE, AskSpec
from vlm3.asking.templates import template_set
from vlm3.errors import ConfigError, DataError
from vlm3.evaluation.answering import Answerer, TextAnswerer, check_shown
from vlm3.evaluation.predictions import PredictedAnswerer, PredictionFile
from vlm3.infer.endpoint import Endpoint, EndpointModel
from vlm3.models.load import ModelConfig, resolve_model
from vlm3.storage.visible import visible
from vlm3.tasks.spec_file import read_spec, read_spec_yaml, spec_json, spec_of_every_task
from vlm3.tokens.vision import VisionSpec
from vlm3.tracking.registry import ResolvedModel, resolve

READING = 2
"""Version of how answers are bounded and read; raised at each change, so that kept answers never mix with new ones."""


@dataclass(frozen=True, slots=True)
class DirectoryAnswerer:
    """A model in a directory that every node can read."""

    directory: Path
    ask: AskSpec
    device: str
    version: ResolvedModel | None
    """The registered version; None for a model that is not registered."""

    @property
    def identity(self) -> str:
        """Hash of the directory's files, the device and the way of asking."""
        files = [path for path in visible(self.directory.iterdir()) if path.is_file()]
        state = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        return _hash(f"{state} {self.device} {_way(self.ask)}")

    def check(self) -> Callable[[Item], None]:
        """A function that raises DataError for an item that cannot be shown to the model."""
        bounds = VisionSpec.from_directory(self.directory).bounds
        return partial(check_shown, ask=self.ask, bounds=bounds)

    def build(self, threads: int) -> Answerer:
        """Load the weights; torch computes with `threads` threads."""
        import torch

        from vlm3.infer.local_model import LocalModel

        torch.set_num_threads(threads)
        model = LocalModel.load(self.directory, self.device)
        return TextAnswerer(Predictor(model, self.ask, read_calibration(self.directory)))


@dataclass(frozen=True, slots=True)
class EndpointAnswerer:
    """A model behind an endpoint."""

    endpoint: Endpoint
    ask: AskSpec

    @property
    def identity(self) -> str:
        """Hash of the server's model, its bounds on images and the way of asking; its address does not count."""
        return _hash(f"{self.endpoint.model} {self.endpoint.bounds} {_way(self.ask)}")

    def check(self) -> Callable[[Item], None]:
        """A function that raises DataError for an item that cannot be shown to the model."""
        return partial(check_shown, ask=self.ask, bounds=self.endpoint.bounds)

    def build(self, threads: int) -> Answerer:
        """Wrap the endpoint; the server computes, whatever `threads` is."""
        return TextAnswerer(Predictor(EndpointModel(self.endpoint), self.ask))


@dataclass(frozen=True, slots=True)
class FileAnswerer:
    """A file of predictions that were made elsewhere."""

    path: Path

    @property
    def identity(self) -> str:
        """Hash of the file's path, size and time of change."""
        state = self.path.stat()
        return _hash(f"{self.path} {state.st_size} {state.st_mtime_ns}")

    def check(self) -> Callable[[Item], None]:
        """A function that accepts every item: nothing is shown to a file."""
        return _all_good

    def build(self, threads: int) -> Answerer:
        """Open the file; nothing is computed."""
        return PredictedAnswerer(PredictionFile.open(self.path))


AnswererSource = DirectoryAnswerer | EndpointAnswerer | FileAnswerer


def answerer_source(
    model: str, endpoint_model: str | None, ask_file: Path | None, device: str, uri: str, runs_dir: Path
) -> AnswererSource:
    """Find the model or file that a user names.

    Args:
        model: an exported directory, `models:/NAME@ALIAS`, `hub:ORGANISATION/NAME`, an `http(s)://…/v1` endpoint, or a
            `.parquet` file of predictions.
        endpoint_model: name of the model on the endpoint's server.
        ask_file: YAML that says how to ask; default: what a model's directory says, else our own wordings.
        device: `cpu` or `cuda`, for models that are loaded here.
        uri: MLflow store of registered models.
        runs_dir: the runs folder, where fetched models are kept.

    Raises:
        ConfigError, DataError: there is no such model, or a flag does not go with it.
    """
    given = None if ask_file is None else read_spec_yaml(ask_file)
    is_endpoint = model.startswith(("http://", "https://"))
    if is_endpoint != (endpoint_model is not None):
        raise ConfigError(
            "an endpoint needs --endpoint-model NAME, as its server calls the model; nothing else takes it"
        )
    if is_endpoint:
        assert endpoint_model is not None
        return EndpointAnswerer(Endpoint(model, endpoint_model), given or spec_of_every_task())
    if model.endswith(".parquet"):
        if given is not None:
            raise ConfigError("--ask says how to ask a model; a file of predictions is not asked")
        PredictionFile.open(Path(model))
        return FileAnswerer(Path(model).resolve())
    if model.startswith("hub:"):
        directory = resolve_model(ModelConfig(id=model.removeprefix("hub:")), runs_dir / "models", seed=0)
        return DirectoryAnswerer(directory, given or spec_of_every_task(), device, None)
    found = resolve(model, uri, runs_dir / "served")
    if given is None and not (found.directory / FILE).is_file():
        raise DataError(f"model {model}: its directory has no {FILE}, which says how to ask it; give --ask FILE.yaml")
    version = None if found.version == "local" else found
    return DirectoryAnswerer(found.directory, given or read_spec(found.directory), device, version)


def _way(ask: AskSpec) -> str:
    """Everything that decides how questions are worded and answers read, with the template sets that a spec names."""
    sets = [template_set(part.ask.templates).model_dump_json() for part in ask.parts]
    return f"{spec_json(ask)} {sets} {READING}"


def _all_good(item: Item) -> None:
    """Accept any item."""


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
