"""The Ray Serve application: metric depth at points of an uploaded image, over HTTP."""

import asyncio
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import Field
from ray import serve
from starlette.exceptions import HTTPException

from serve.limits import DEPTH_PATH, UploadGuard
from serve.meters import EndpointMeters
from serve.names import form_fault, query_fault
from serve.requests import DepthRequest, RequestError, read_request
from serve.schemas import DepthInterval, DepthResponse, ErrorReply, Health, ModelInfo, PointDepth
from vlm3.asking.calibration import LEVELS, Calibration
from vlm3.asking.predictor import Predictor
from vlm3.config import StrictModel
from vlm3.errors import ConfigError, DataError, UserError
from vlm3.infer.loading import load_predictor
from vlm3.log import configure, get_logger
from vlm3.storage.images import upright
from vlm3.tasks.depth.answering import DepthAnswer, answer_depth
from vlm3.tasks.depth.point_depth import AskedPointDepth
from vlm3.tracking.client import tracking_uri
from vlm3.tracking.config import TrackingConfig
from vlm3.tracking.registry import ResolvedModel, resolve

log = get_logger(__name__)
CHAMPION = "models:/vlm3-depth@champion"
NOT_LOADED = "the model could not be loaded"
MAX_WAITING = 32
"""Requests that a replica holds at once, and as many more that wait in the proxy; beyond them Serve answers 503."""
PREFIX_CACHE_BYTES = 1 << 30
"""Memory for images that were asked about last; a 4B model takes some 45 MB an image of 512 x 512 px."""
FAULTS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorReply} for status in (413, 415, 422, 503)}

api = FastAPI(title="VLM3 depth", docs_url=None, redoc_url=None)
api.add_middleware(UploadGuard)


class ServeConfig(StrictModel):
    """Which model is served, and with which resources."""

    runs_dir: str
    """Folder of the MLflow database and of the models fetched from the registry; every replica must see it."""
    model: str = CHAMPION
    """`models:/NAME@ALIAS`, `models:/NAME/VERSION`, or an exported model directory."""
    tracking: TrackingConfig = TrackingConfig()
    device: Literal["cpu", "cuda"] = "cpu"
    replicas: Annotated[int, Field(ge=1)] = 1

    def resolve(self) -> ResolvedModel:
        """Find the model and fetch it if needed. Raises UserError, as `vlm3.tracking.registry.resolve`."""
        runs_dir = Path(self.runs_dir)
        return resolve(self.model, tracking_uri(self.tracking, runs_dir), runs_dir / "served")

    def pinned(self) -> "ServeConfig":
        """Copy in which an alias is the version that it names now, and the store a URI.

        So all replicas serve the same model, whatever the environment of their nodes.
        """
        found = self.resolve()
        model = str(found.directory) if found.version == "local" else f"models:/{found.name}/{found.version}"
        store = self.tracking.model_copy(update={"uri": tracking_uri(self.tracking, Path(self.runs_dir))})
        return self.model_copy(update={"model": model, "tracking": store})


@api.exception_handler(RequestError)
async def _refused(_: Request, error: RequestError) -> JSONResponse:
    return JSONResponse({"error": str(error)}, error.status)


@api.exception_handler(HTTPException)
async def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    asked = f"{request.method} {request.url.path[:100]}"
    text = f"{asked} is not served; send POST {DEPTH_PATH}" if error.status_code in (404, 405) else error.detail
    return JSONResponse({"error": text}, error.status_code, headers=error.headers)


@api.exception_handler(RequestValidationError)
async def _form_error(_: Request, error: RequestValidationError) -> JSONResponse:
    fault = error.errors()[0]
    field = fault["loc"][-1]
    if field == "image":
        return JSONResponse({"error": "image: expected the bytes of a JPEG or PNG as an uploaded file"}, 422)
    return JSONResponse({"error": f"form field {field!r}: {fault['msg']}"}, 422)


@api.exception_handler(Exception)
async def _bug(_: Request, __: Exception) -> JSONResponse:
    # Ray Serve logs the error with its stack, which a client must not see.
    return JSONResponse({"error": "internal error; the server's log says more"}, 500)


async def declared_only(request: Request) -> None:
    """Refuse what FastAPI would ignore: a name that is not declared, a name sent twice, an empty value."""
    form = await request.form()
    fault = query_fault(request.query_params) or form_fault(form.multi_items())
    if fault is not None:
        raise RequestError(422, fault)


def _answer(predictor: Predictor, request: DepthRequest, level: float | None) -> list[PointDepth]:
    try:
        answers = answer_depth(
            predictor, upright(request.encoded_image), request.camera, request.points_px, spreads=level is not None
        )
    except DataError as error:
        raise RequestError(422, f"image: {error}") from None
    return [_point(answer, predictor.calibration, level) for answer in answers]


def _point(answer: DepthAnswer, calibration: Calibration | None, level: float | None) -> PointDepth:
    point = PointDepth(
        text=answer.text, status=answer.status, z_depth_m=answer.z_depth_m, ray_depth_m=answer.ray_depth_m
    )
    if answer.spread is None or calibration is None or level is None:
        return point
    ends = answer.spread.intervals_m(calibration, level)
    interval = None if ends is None else DepthInterval(z_depth_m=ends[0], ray_depth_m=ends[1])
    return point.model_copy(update={"interval_m": interval, "p_readable": answer.spread.asked.readable})


# Serve copies `api` with its routes here, so handlers and dependencies must be defined above.
@serve.ingress(api)
class DepthService:
    """One replica with its model. One thread computes the answers one after another; the event loop answers probes."""

    def __init__(self, config: ServeConfig, instance: str) -> None:
        configure()
        self._config = config
        self._instance = instance
        self._meters = EndpointMeters()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._loaded = self._worker.submit(self._load)

    def _load(self) -> tuple[Predictor, ModelInfo]:
        found = self._config.resolve()
        predictor = load_predictor(found.directory, self._config.device, PREFIX_CACHE_BYTES)
        if predictor.ask.part(AskedPointDepth) is None:
            raise ConfigError(f"model {self._config.model} was not trained on depth, which is what is served")
        log.info("%s version %s is loaded", found.name, found.version)
        model = ModelInfo(name=found.name, version=found.version)
        self._meters.loaded(model)
        return predictor, model

    def check_health(self) -> None:
        """Called by Ray Serve: raises if the model failed to load, so that the replica is replaced.

        It does not raise for a UserError, since a new replica would fail in the same way.
        """
        if self._loaded.done() and not isinstance(self._loaded.exception(), UserError):
            self._loaded.result()

    @api.get("/healthz")
    async def healthz(self) -> dict[str, str]:
        """Answers 200 while the process runs."""
        return {"status": "ok"}

    @api.get("/readyz", responses={503: {"model": ErrorReply}})
    async def readyz(self) -> Health:
        """Answers 200 once the model is loaded, 503 until then."""
        return Health(model=self._ready()[1], instance=self._instance)

    @api.post(DEPTH_PATH, responses=FAULTS, dependencies=[Depends(declared_only)])
    async def depth(
        self,
        image: Annotated[UploadFile, File(description="A JPEG or PNG; it is turned as EXIF says, as viewers do.")],
        points: Annotated[str, Form(description="JSON [[u, v], …] in pixels of the upright picture.")],
        intrinsics: Annotated[str | None, Form(description="JSON with the K of the upright picture.")] = None,
        horizontal_fov_deg: Annotated[float | None, Form(description="Across the upright picture.")] = None,
        interval: Annotated[
            float | None,
            Form(ge=LEVELS[0], le=LEVELS[-1], description="Probability of the depth to lie in `interval_m`."),
        ] = None,
    ) -> DepthResponse:
        """Depth in metres at points of an image."""
        started = time.perf_counter()
        predictor, model = self._ready()
        request = read_request(await image.read(), points, intrinsics, horizontal_fov_deg)
        if interval is not None and predictor.calibration is None:
            raise RequestError(422, "interval: this model has none: its export was not calibrated on held-out frames")
        loop = asyncio.get_running_loop()
        answers = await loop.run_in_executor(self._worker, _answer, predictor, request, interval)
        self._meters.answered(answer.status for answer in answers)
        return DepthResponse(
            points=answers,
            width_px=request.camera.width_px,
            height_px=request.camera.height_px,
            model=model,
            intrinsics_source=request.intrinsics_source,
            seconds=time.perf_counter() - started,
        )

    def _ready(self) -> tuple[Predictor, ModelInfo]:
        if not self._loaded.done():
            raise RequestError(503, "the model is being loaded; try again in a few seconds")
        error = self._loaded.exception()
        if error is not None:
            why = str(error) if isinstance(error, UserError) else "the server's log says why"
            raise RequestError(503, f"{NOT_LOADED}: {why}")
        return self._loaded.result()


def build(args: dict[str, Any]) -> serve.Application:
    """Make the application, for `serve.run(build({...}))` or `serve run serve.app:build model=... runs_dir=...`.

    Args:
        args: keys of `ServeConfig`.

    Raises:
        UserError: a key is wrong, or there is no such model.
    """
    return application(ServeConfig.parse(args, "serve").pinned(), secrets.token_hex(8))


def application(config: ServeConfig, instance: str) -> serve.Application:
    """Make the application for a pinned configuration; `/readyz` returns `instance`, so that a caller recognises it."""
    actor = {"num_cpus": 1, "num_gpus": 1 if config.device == "cuda" else 0}
    deployment = serve.deployment(
        DepthService,
        num_replicas=config.replicas,
        ray_actor_options=actor,
        max_ongoing_requests=MAX_WAITING,
        max_queued_requests=MAX_WAITING,
    )
    return deployment.bind(config, instance)
