"""Schemas of requests and answers. Lengths are in metres.

Pixels, K and sizes refer to the uploaded picture as viewers show it: upright, turned as EXIF says.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, FiniteFloat, TypeAdapter, ValidationError, model_validator

from vlm3.asking.text_model import Status
from vlm3.config import StrictModel
from vlm3.geometry.camera import Camera, Distortion, lens_fault
from vlm3.scenes.schema import IntrinsicsSource

MAX_POINTS = 256

Point = tuple[FiniteFloat, FiniteFloat]
PositiveFloat = Annotated[FiniteFloat, Field(gt=0)]


POINTS: TypeAdapter[list[Point]] = TypeAdapter(Annotated[list[Point], Field(min_length=1, max_length=MAX_POINTS)])
"""Reads the form field `points`: (u, v) in pixels of the upright picture; pixel centres are at integers."""


class Intrinsics(StrictModel):
    """Content of the form field `intrinsics`."""

    fx_px: PositiveFloat
    fy_px: PositiveFloat
    cx_px: FiniteFloat
    cy_px: FiniteFloat
    distortion: Distortion = Distortion.NONE
    coefficients: tuple[FiniteFloat, ...] = ()

    @model_validator(mode="after")
    def _as_many_as_the_model_takes(self) -> Self:
        fault = lens_fault(self.distortion, self.coefficients)
        if fault is not None:
            raise ValueError(fault)
        return self

    @classmethod
    def of(cls, camera: Camera) -> Self:
        """The intrinsics of a camera, as a client sends them."""
        return cls(
            fx_px=camera.fx_px,
            fy_px=camera.fy_px,
            cx_px=camera.cx_px,
            cy_px=camera.cy_px,
            distortion=camera.distortion,
            coefficients=camera.coefficients,
        )

    def camera(self, width_px: int, height_px: int) -> Camera:
        """The camera of an image of this size."""
        return Camera(
            width_px, height_px, self.fx_px, self.fy_px, self.cx_px, self.cy_px, self.distortion, self.coefficients
        )


class DepthInterval(BaseModel):
    """Between which metres the depth of a point lies with the probability that was asked for."""

    z_depth_m: tuple[float, float]
    """Lower and upper end, as the next."""
    ray_depth_m: tuple[float, float]


class PointDepth(BaseModel):
    """The answer for one point."""

    text: str
    """The model's answer as text; empty if `outside`."""
    status: Status | Literal["outside"]
    """`cut`: the answer reached the bound on its length; `outside`: the point is not in the image or has no ray."""
    z_depth_m: float | None
    """Distance along the optical axis; null unless `ok`."""
    ray_depth_m: float | None
    """Distance along the ray from the camera to the point, "how far"; null unless `ok`."""
    interval_m: DepthInterval | None = None
    """Null unless an interval was asked for, and where the model named no number."""
    p_readable: float | None = None
    """Probability, by the model, that its answer is a length; null unless an interval was asked for, or `outside`."""


class ModelInfo(BaseModel):
    """Which model answered."""

    name: str
    version: str
    """Number of the registered version; `local` for a directory."""


class DepthResponse(BaseModel):
    """Body of a successful `POST /v1/depth`."""

    points: list[PointDepth]
    """One answer per point asked, in order."""
    width_px: int
    """Width of the upright picture, in whose pixels points and K are."""
    height_px: int
    model: ModelInfo
    intrinsics_source: IntrinsicsSource
    seconds: float
    """Time spent on this answer in the replica, with waiting for earlier answers."""


class Health(BaseModel):
    """Body of `/readyz`."""

    status: Literal["ok"] = "ok"
    model: ModelInfo
    instance: str
    """Id of this start of the application, which distinguishes it from another server on the same port."""


class ErrorReply(BaseModel):
    """Body of every answer that is not a success."""

    error: str
    """One sentence: what was expected, what was found, what to send."""


def first_fault(error: ValidationError) -> str:
    """Message about the first fault of a form field."""
    fault = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    found = "" if not where or fault["type"] == "missing" else f", found {fault['input']!r:.60}"
    return f"{where}: {message}{found}" if where else message
