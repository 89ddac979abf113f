"""A model behind an OpenAI-compatible endpoint: one request a question, the images as PNG inside it."""

import base64
import json
import os
import random
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import cv2
import httpx2
import numpy as np
from numpy.typing import NDArray

from vlm3.errors import ConfigError, DataError
from vlm3.infer.text_model import ImageBounds, TextRequest
from vlm3.log import get_logger

log = get_logger(__name__)
KEY_VARIABLE = "VLM3_ENDPOINT_KEY"
"""Environment variable with the bearer token; a server that wants none needs none."""
ATTEMPTS = 6
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
TIMEOUT_S = 300.0
AT_ONCE = 8
MAX_REPLY_BYTES = 1 << 20
QWEN3_VL = ImageBounds(32, 32 * 32, 4096 * 4096)
BUSY = (408, 409, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is served."""

    url: str
    """Up to and with the version, e.g. https://host/v1."""
    model: str
    """As the server calls it."""
    bounds: ImageBounds = QWEN3_VL
    """Of the images it takes as they are; default: Qwen3-VL's grid."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"endpoint {self.url!r}: expected a URL such as https://host/v1")
        if parts.username or parts.password:
            raise ConfigError(f"endpoint on {parts.hostname}: give its key in ${KEY_VARIABLE}, not in the URL")


@dataclass(slots=True)
class EndpointModel:
    """Asks a server; questions of a request go out side by side."""

    endpoint: Endpoint
    _client: httpx2.Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        key = os.environ.get(KEY_VARIABLE, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(f"${KEY_VARIABLE} holds characters that no key has: copy it anew, without line ends")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx2.Client(headers=headers, timeout=TIMEOUT_S, trust_env=True)

    @property
    def bounds(self) -> ImageBounds:
        """As configured."""
        return self.endpoint.bounds

    def answer(self, request: TextRequest) -> list[str]:
        """What the server says to each question, at temperature 0.

        Raises:
            ConfigError: it refuses the key, the model's name or the request.
            DataError: it does not answer, also after several attempts, or answers in another form.
        """
        images = [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_png(image)}"}}
            for image in request.images
        ]
        system = [] if request.system is None else [{"role": "system", "content": request.system}]

        def ask(question: str) -> str:
            user = {"role": "user", "content": [*images, {"type": "text", "text": question}]}
            body = {
                "model": self.endpoint.model,
                "messages": [*system, user],
                "temperature": 0,
                "max_tokens": request.max_new_tokens,
            }
            return self._send(body, request.item)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(ask, request.questions))

    def _send(self, body: Mapping[str, Any], item: str) -> str:
        url = f"{self.endpoint.url.rstrip('/')}/chat/completions"
        for attempt in range(1, ATTEMPTS + 1):
            try:
                reply, content = self._post(url, body)
            except httpx2.RequestError as error:
                fault, wait_s = f"{type(error).__name__}: {error}", 0.0
            else:
                if reply.status_code == 200:
                    return _text(content, url)
                said = content[:300].decode("utf-8", "replace")
                fault, wait_s = f"status {reply.status_code}: {said}", _retry_after_s(reply)
                if reply.status_code in (401, 403):
                    raise ConfigError(
                        f"{url}: {fault}; the key is read from ${KEY_VARIABLE} where the replica runs: on a cluster,"
                        " set it before `ray start`"
                    )
                if reply.status_code not in BUSY:
                    raise ConfigError(f"{url} refuses a question about {item}: {fault}")
            if attempt < ATTEMPTS:
                # Full jitter (M. Brooker, Exponential backoff and jitter, 2015).
                pause_s = min(max(random.uniform(0, FIRST_PAUSE_S * 2**attempt), wait_s), LONGEST_PAUSE_S)
                log.warning("%s: %s; trying again in %.1f s", url, fault, pause_s)
                time.sleep(pause_s)
        raise DataError(f"{url}: no answer about {item} after {ATTEMPTS} attempts: {fault}")

    def _post(self, url: str, body: Mapping[str, Any]) -> tuple[httpx2.Response, bytes]:
        """The reply and its first bytes: no more than are read of any reply are ever held."""
        content = bytearray()
        with self._client.stream("POST", url, json=body) as reply:
            for part in reply.iter_bytes(1 << 16):
                content += part
                if len(content) > MAX_REPLY_BYTES:
                    raise DataError(f"{url}: a reply of more than {MAX_REPLY_BYTES} bytes")
        return reply, bytes(content)


def _png(image: NDArray[np.uint8]) -> str:
    """Losslessly: pixels are as the question's coordinates mean them."""
    done, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not done:
        raise RuntimeError("OpenCV could not encode a PNG")
    return base64.b64encode(encoded.tobytes()).decode()


def _text(content: bytes, url: str) -> str:
    try:
        text = json.loads(content)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise DataError(f"{url}: expected choices[0].message.content, found {content[:300]!r}") from error
    if text is None:
        return ""  # cut off before anything was said: an answer that cannot be read
    if not isinstance(text, str):
        raise DataError(f"{url}: expected a text as the answer, found {text!r:.300}")
    # Half of a character that was cut in two cannot be stored.
    return text.encode("utf-8", "replace").decode()


def _retry_after_s(reply: httpx2.Response) -> float:
    try:
        return max(0.0, float(reply.headers.get("retry-after", "0")))
    except ValueError:
        return 0.0
