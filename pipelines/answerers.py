"""Who is measured: a model by directory, registry, hub or endpoint, or a file of predictions."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

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
"""Raised when answers are bounded or read in another way: those that were kept before are not mixed with new ones."""


@dataclass(frozen=True, slots=True)
class DirectoryAnswerer:
    """A model in a directory that every node sees."""

    directory: Path
    ask: AskSpec
    device: str
    version: ResolvedModel | None
    """The registered version, if it is one."""

    @property
    def identity(self) -> str:
        """Names the weights' files and the way of asking."""
        files = [path for path in visible(self.directory.iterdir()) if path.is_file()]
        state = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        return _hash(f"{state} {self.device} {_way(self.ask)}")

    def check(self) -> Callable[[Item], None]:
        """What refuses an item that cannot be shown to the model, by DataError."""
        bounds = VisionSpec.from_directory(self.directory).bounds
        return partial(check_shown, ask=self.ask, bounds=bounds)

    def build(self, threads: int) -> Answerer:
        """Load the weights, for `threads` of torch."""
        import torch

        from vlm3.infer.local_model import LocalModel

        torch.set_num_threads(threads)
        return TextAnswerer(Predictor(LocalModel.load(self.directory, self.device), self.ask))


@dataclass(frozen=True, slots=True)
class EndpointAnswerer:
    """A model behind an endpoint."""

    endpoint: Endpoint
    ask: AskSpec

    @property
    def identity(self) -> str:
        """Names the server's model and the way of asking; a server that has moved is the same."""
        return _hash(f"{self.endpoint.model} {self.endpoint.bounds} {_way(self.ask)}")

    def check(self) -> Callable[[Item], None]:
        """As of `DirectoryAnswerer`."""
        return partial(check_shown, ask=self.ask, bounds=self.endpoint.bounds)

    def build(self, threads: int) -> Answerer:
        """Connect; the server computes."""
        return TextAnswerer(Predictor(EndpointModel(self.endpoint), self.ask))


@dataclass(frozen=True, slots=True)
class FileAnswerer:
    """Predictions that were made elsewhere."""

    path: Path

    @property
    def identity(self) -> str:
        """Names the file as it is."""
        state = self.path.stat()
        return _hash(f"{self.path} {state.st_size} {state.st_mtime_ns}")

    def check(self) -> Callable[[Item], None]:
        """Nothing is shown to a file."""
        return _all_good

    def build(self, threads: int) -> Answerer:
        """Open the file; nothing is computed."""
        return PredictedAnswerer(PredictionFile.open(self.path))


AnswererSource = DirectoryAnswerer | EndpointAnswerer | FileAnswerer


def answerer_source(
    model: str, endpoint_model: str | None, ask_file: Path | None, device: str, uri: str, runs_dir: Path
) -> AnswererSource:
    """Find who is meant.

    Args:
        model: an exported directory, `models:/NAME@ALIAS`, `hub:ORGANISATION/NAME`, an `http(s)://…/v1` endpoint, or a
            `.parquet` file of predictions.
        endpoint_model: what an endpoint calls its model.
        ask_file: YAML that says how to ask; default: what a model's directory says, else our own wordings.
        device: `cpu` or `cuda`, for models that are loaded here.
        uri: MLflow store of registered models.
        runs_dir: where registered models are kept once fetched.

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
    """All that decides how questions are worded: also the shipped template sets that a spec only names."""
    sets = [template_set(part.ask.templates).model_dump_json() for part in ask.parts]
    return f"{spec_json(ask)} {sets} {READING}"


def _all_good(item: Item) -> None:
    """Any item will do."""


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
