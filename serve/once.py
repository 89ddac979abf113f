"""One question over HTTP to a freshly started server: the last part of the demo."""

from pathlib import Path

import httpx2
import numpy as np

from pipelines.cluster import free_port
from serve.app import ServeConfig
from serve.limits import DEPTH_PATH
from serve.running import running
from serve.schemas import DepthResponse, Intrinsics
from vlm3.errors import DataError
from vlm3.geometry.depth import DepthKind, convert_depth
from vlm3.scenes.schema import Frame
from vlm3.tracking.config import TrackingConfig

HOST = "127.0.0.1"
TIMEOUT_S = 300.0


def answer_once(
    tracking: TrackingConfig, runs_dir: Path, frame: Frame, version: int | None = None, points: int = 1
) -> str:
    """Serve a model on the connected Ray cluster and a free loopback port, ask it about a frame, and stop it.

    Args:
        tracking: gives the registered model's name and its store.
        runs_dir: the runs folder.
        frame: a frame with labelled points.
        version: version of the registered model; default: the champion.
        points: number of these points to ask about.

    Returns:
        One line: the points, the answers and the truth in metres along the ray, the model's version.

    Raises:
        DataError: the frame has no labelled point.
        UserError: there is no such version, or no champion.
    """
    labelled = frame.points[:points].astype(np.float64)
    if len(labelled) == 0:
        raise DataError(f"frame {frame.frame} of {frame.source} has no labelled point to ask about")
    model = f"models:/{tracking.registered_model}" + ("@champion" if version is None else f"/{version}")
    config = ServeConfig(runs_dir=str(runs_dir.resolve()), model=model, tracking=tracking)
    with running(config, HOST, free_port()) as url:
        body = ask(url, frame, labelled[:, :2].tolist())
    truth_m = convert_depth(labelled[:, 2], labelled[:, :2], frame.camera, frame.depth_kind, DepthKind.RAY)
    lines = [
        f"({u:.0f}, {v:.0f}): "
        + (f"{point.ray_depth_m:.2f} m" if point.ray_depth_m is not None else f"{point.status} {point.text!r}")
        + f", truth {true_m:.2f} m"
        for (u, v, _), point, true_m in zip(labelled, body.points, truth_m, strict=True)
    ]
    where = f"how far is the point of {frame.source}/{frame.scene}/{frame.frame} at"
    return f"{where} {'; '.join(lines)} (along the ray; {body.model.name} version {body.model.version})"


def ask(url: str, frame: Frame, points_px: list[list[float]]) -> DepthResponse:
    """Send a frame's image, points and intrinsics, as any client would.

    Raises:
        DataError: the server refuses the request.
    """
    response = httpx2.post(
        url + DEPTH_PATH,
        files={"image": frame.encoded_image},
        data={"points": str(points_px), "intrinsics": Intrinsics.of(frame.camera).model_dump_json()},
        timeout=TIMEOUT_S,
        trust_env=False,
    )
    if response.status_code != 200:
        raise DataError(f"{url}{DEPTH_PATH} answers {response.status_code}: {response.text}")
    return DepthResponse.model_validate_json(response.content)
