"""Asking a running job for other weights: a file with the request and one with the answer, in the run's folder."""

import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field

from vlm3.config import StrictModel, dump_yaml, load_yaml
from vlm3.errors import ConfigError
from vlm3.storage.atomic import create_file

REQUEST_FILE = "weights.request.yaml"
OUTCOME_FILE = "weights.outcome.yaml"
POLL_S = 0.2
SETTLED_NS = 1_000_000_000
"""A request written by hand is taken to be complete when its file has not changed for this long."""


class WeightsRequest(StrictModel):
    """A request for other weights of a run's components, from now on."""

    weights: Annotated[dict[str, float], Field(min_length=1)]
    """Weights by "source/task"; components that are not named keep their weight."""
    id: str | None = None
    """Identifies the request; default: made from the time at which the file was written."""
    asked_at: str | None = None
    """Time of the request: UTC, ISO 8601."""


class WeightsOutcome(StrictModel):
    """Answer to a request: the position from which it holds, or why it was refused."""

    id: str
    from_position: int | None = None
    """First position of the new weights; None if refused."""
    step: int | None = None
    """Step of that position, counted from 1; None if refused."""
    refused: str | None = None


def now() -> str:
    """The current time as requests and plans write it: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def submit_request(run_dir: Path, weights: Mapping[str, float]) -> str:
    """Write a request into a run's folder, whole or not at all.

    Returns:
        Id of the request.

    Raises:
        ConfigError: another request waits there.
    """
    request_id = secrets.token_hex(8)
    request = WeightsRequest(weights=dict(weights), id=request_id, asked_at=now())
    target = run_dir / REQUEST_FILE
    try:
        create_file(target, dump_yaml(request.model_dump(mode="json")).encode())
    except FileExistsError:
        raise ConfigError(
            f"{target}: another request waits there; try again when the run has answered it, or delete the file if the"
            " run has ended"
        ) from None
    return request_id


def read_request(path: Path) -> WeightsRequest | None:
    """The request in a file, with an id; None while the file may still be being written.

    Raises:
        ConfigError: the file does not hold a request.
        FileNotFoundError: there is no file.
    """
    written_ns = path.stat().st_mtime_ns
    settled = time.time_ns() - written_ns >= SETTLED_NS
    try:
        request = WeightsRequest.parse(load_yaml(path), str(path))
    except ConfigError:
        if settled:
            raise
        return None
    if request.id is not None:
        return request
    if not settled:
        # The first lines of a half-written file can be a valid request with fewer weights.
        return None
    return request.model_copy(update={"id": f"written-{written_ns}"})


def wait_for_outcome(run_dir: Path, request_id: str, timeout_s: float) -> WeightsOutcome | None:
    """The answer to a request, None if there is none within `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    path = run_dir / OUTCOME_FILE
    while True:
        if path.exists():
            outcome = WeightsOutcome.parse(load_yaml(path), str(path))
            if outcome.id == request_id:
                return outcome
        if time.monotonic() >= deadline:
            return None
        time.sleep(POLL_S)
