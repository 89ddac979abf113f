"""A model behind an OpenAI-compatible endpoint: one request per question, with the images as PNG inside it.

Servers differ in what they accept and how they answer: see `vlm3.infer.dialect`.
"""

import base64
import math
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import cv2
import httpx2
import numpy as np
from numpy.typing import NDArray

from vlm3.asking.text_model import Ending, ImageBounds, Reply, TextRequest
from vlm3.backoff import Backoff
from vlm3.errors import ConfigError, DataError
from vlm3.infer.dialect import Dialect, reply_of
from vlm3.log import get_logger

log = get_logger(__name__)
KEY_VARIABLE = "VLM3_ENDPOINT_KEY"
"""Environment variable with the bearer token; unset for a server that needs none."""
ATTEMPTS = 6
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
TIMEOUT_S = 300.0
AT_ONCE = 8
MAX_REPLY_BYTES = 1 << 20
QWEN3_VL = ImageBounds(32, 32 * 32, 4096 * 4096)
BUSY = (408, 409, 425, 429, 500, 502, 503, 504)
ABOUT_THE_QUESTION = (400, 403, 413, 422, 451)
"""Status codes that may concern a single question, e.g. for a filter, or an image or text that the server rejects.

A server that refuses every question uses them too: then the fault is in the request.
"""
TRIAL = "Is this image grey? Answer yes or no."
"""Question about a grey image, which no filter blocks, to see whether a server that refuses answers anything at all."""
TRIAL_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address of a served model."""

    url: str
    """URL up to and including the version, e.g. https://host/v1."""
    model: str
    """Name of the model on the server."""
    bounds: ImageBounds = QWEN3_VL
    """Bounds of the images that the model takes without resizing them; default: Qwen3-VL's grid."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"endpoint {self.url!r}: expected a URL such as https://host/v1")
        if parts.username or parts.password:
            raise ConfigError(f"endpoint on {parts.hostname}: give its key in ${KEY_VARIABLE}, not in the URL")


class _RefusedError(Exception):
    """The server refuses to answer a question."""

    def __init__(self, status: int, content: bytes) -> None:
        super().__init__(_fault(status, content))
        self.status = status


@dataclass(slots=True)
class EndpointModel:
    """A model that is asked through a server; the questions of a request are sent in parallel."""

    endpoint: Endpoint
    _client: httpx2.Client = field(init=False, repr=False)
    _dialect: Dialect = field(init=False, default=Dialect())
    """Dialect of the last request that the server answered."""
    _answers: bool = field(init=False, default=False)
    """Whether the server has answered since it last refused: then a refusal concerns a question, not all requests."""
    _hopeless: str | None = field(init=False, default=None)
    """Why the server answers no question at all; None unless that is known."""
    _trial: Lock = field(init=False, repr=False, default_factory=Lock)

    def __post_init__(self) -> None:
        key = os.environ.get(KEY_VARIABLE, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(f"${KEY_VARIABLE} holds characters that no key has: copy it anew, without line ends")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx2.Client(headers=headers, timeout=TIMEOUT_S, trust_env=True)

    @property
    def bounds(self) -> ImageBounds:
        """Image bounds of the endpoint."""
        return self.endpoint.bounds

    def answer(self, request: TextRequest) -> list[Reply]:
        """The server's reply to each question, at temperature 0 if it accepts that.

        Raises:
            ConfigError: the server refuses the key, the model's name, or every question.
            DataError: the server does not answer after several attempts, or answers in another form.
        """
        shown = [_shown(image) for image in request.images]
        system = [] if request.system is None else [{"role": "system", "content": request.system}]

        def ask(question: str) -> Reply:
            if self._hopeless is not None:
                raise ConfigError(self._hopeless)
            try:
                return self._ask([*system, _user(shown, question)], request.max_new_tokens, request.item)
            except _RefusedError as refused:
                self._check_answers_anything(request.item, refused)
                log.warning("%s does not answer a question about %s: %s", self._url, request.item, refused)
                return Reply("", Ending.REFUSED)
            except ConfigError as error:
                self._hopeless = str(error)
                raise

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(ask, request.questions))

    @property
    def _url(self) -> str:
        return f"{self.endpoint.url.rstrip('/')}/chat/completions"

    def _check_answers_anything(self, item: str, refused: _RefusedError) -> None:
        """Raise ConfigError if a server that refused a question refuses a harmless one too.

        A key may be revoked, or a budget used up, in the middle of an evaluation: such refusals must not count as
        answers.
        """
        with self._trial:
            if self._hopeless is not None:
                raise ConfigError(self._hopeless)
            if self._answers and refused.status != 403:
                self._answers = False
                return
            side_px = self.bounds.token_px * math.ceil(math.sqrt(self.bounds.min_pixels) / self.bounds.token_px)
            grey = np.full((side_px, side_px, 3), 128, np.uint8)
            try:
                self._ask([_user([_shown(grey)], TRIAL)], TRIAL_TOKENS, item)
            except _RefusedError:
                self._hopeless = (
                    f"{self._url} refuses a question about {item}, and any other: {refused}; is {self.endpoint.model!r}"
                    f" a model of this server that takes images, and the key in ${KEY_VARIABLE} allowed to use it?"
                )
                raise ConfigError(self._hopeless) from None

    def _ask(self, messages: Sequence[Mapping[str, Any]], max_new_tokens: int, item: str) -> Reply:
        """The server's reply, in the first dialect that it accepts."""
        dialect = self._dialect
        while True:
            body = {"model": self.endpoint.model, "messages": messages} | dialect.limits(max_new_tokens)
            status, content = self._send(body, item)
            if status == 200:
                reply = reply_of(content, max_new_tokens, self._url)
                if dialect != self._dialect:
                    log.warning("%s takes %s", self._url, dialect)
                self._dialect, self._answers = dialect, True
                return reply
            other = dialect.after(content) if status in (400, 422) else None
            if other is None:
                raise _RefusedError(status, content)
            dialect = other

    def _send(self, body: Mapping[str, Any], item: str) -> tuple[int, bytes]:
        """Status and content of a reply that another attempt would not change: 200, or one of `ABOUT_THE_QUESTION`."""
        backoff = Backoff(FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S, attempts=ATTEMPTS)
        while True:
            try:
                reply, content = self._post(self._url, body)
            except httpx2.RequestError as error:
                fault, wait_s = f"{type(error).__name__}: {error}", 0.0
            else:
                if reply.status_code == 200 or reply.status_code in ABOUT_THE_QUESTION:
                    return reply.status_code, content
                fault, wait_s = _fault(reply.status_code, content), _retry_after_s(reply)
                if reply.status_code == 401:
                    raise ConfigError(
                        f"{self._url}: {fault}; the key is read from ${KEY_VARIABLE} where the replica runs: on a"
                        " cluster, set it before `ray start`"
                    )
                if reply.status_code not in BUSY:
                    raise ConfigError(f"{self._url} refuses a question about {item}: {fault}")
            pause_s = backoff.pause_s(wait_s)
            if pause_s is None:
                raise DataError(f"{self._url}: no answer about {item} after {ATTEMPTS} attempts: {fault}")
            log.warning("%s: %s; trying again in %.1f s", self._url, fault, pause_s)
            time.sleep(pause_s)

    def _post(self, url: str, body: Mapping[str, Any]) -> tuple[httpx2.Response, bytes]:
        """The reply and its content; DataError for one of more than `MAX_REPLY_BYTES`, so that memory is bounded."""
        content = bytearray()
        with self._client.stream("POST", url, json=body) as reply:
            for part in reply.iter_bytes(1 << 16):
                content += part
                if len(content) > MAX_REPLY_BYTES:
                    raise DataError(f"{url}: a reply of more than {MAX_REPLY_BYTES} bytes")
        return reply, bytes(content)


def _png(image: NDArray[np.uint8]) -> str:
    """PNG of an image in base64; lossless and of the same size, so that the question's coordinates fit."""
    done, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not done:
        raise RuntimeError("OpenCV could not encode a PNG")
    return base64.b64encode(encoded.tobytes()).decode()


def _shown(image: NDArray[np.uint8]) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_png(image)}"}}


def _user(shown: Sequence[Mapping[str, Any]], question: str) -> dict[str, Any]:
    return {"role": "user", "content": [*shown, {"type": "text", "text": question}]}


def _fault(status: int, content: bytes) -> str:
    return f"status {status}: {content[:300].decode('utf-8', 'replace')}"


def _retry_after_s(reply: httpx2.Response) -> float:
    try:
        return max(0.0, float(reply.headers.get("retry-after", "0")))
    except ValueError:
        return 0.0
