"""Dialects of OpenAI-compatible servers: how a request bounds the length of an answer, and in which form answers come.

The API's reference calls `max_tokens` deprecated and gives `content` as a text or as a list of parts; reasoning models
take only `max_completion_tokens`, and no temperature but their own.
"""

import json
from dataclasses import dataclass, replace
from typing import Any, Self

from vlm3.asking.text_model import Ending, Reply
from vlm3.errors import DataError

CUT_REASONS = ("length", "max_tokens", "max_output_tokens", "model_length")
REFUSED_REASONS = ("content_filter", "safety", "refusal")


@dataclass(frozen=True, slots=True)
class Dialect:
    """The keys that a server accepts in a request besides model and messages."""

    max_key: str = "max_tokens"
    """Name of the key that bounds the length of an answer."""
    temperature: bool = True
    """Whether the server accepts temperature 0."""

    def limits(self, max_new_tokens: int) -> dict[str, int]:
        """These keys with their values, for a request."""
        return {self.max_key: max_new_tokens} | ({"temperature": 0} if self.temperature else {})

    def after(self, refusal: bytes) -> Self | None:
        """The dialect to try after a refusal that names a key of this one; None if it names none."""
        named = _named(refusal)
        if self.max_key == "max_tokens" and "max_tokens" in named:
            return replace(self, max_key="max_completion_tokens")
        return replace(self, temperature=False) if self.temperature and "temperature" in named else None

    def __str__(self) -> str:
        """Description for messages."""
        return self.max_key + ("" if self.temperature else " and no temperature: its answers may differ each time")


def reply_of(content: bytes, max_new_tokens: int, url: str) -> Reply:
    """The reply in the body of a successful response.

    Args:
        content: the body.
        max_new_tokens: the bound in the request.
        url: URL for error messages.

    Raises:
        DataError: the body holds no answer, or one in another form.
    """
    try:
        body = json.loads(content)
        choice = body["choices"][0]
        reason = str(choice.get("finish_reason") or "").lower()
        message = choice["message"] if reason not in REFUSED_REASONS else {"refusal": reason}
        said, refusal = message.get("content"), message.get("refusal")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{url}: expected choices[0].message.content, found {content[:300]!r}") from error
    if refusal and not said:
        return Reply("", Ending.REFUSED)
    cut = reason in CUT_REASONS or (not reason and _tokens_said(body) >= max_new_tokens)
    # Half of a character that was cut in two cannot be stored as UTF-8.
    text = _joined(said, url).encode("utf-8", "replace").decode()
    return Reply(text, Ending.CUT if cut else Ending.ITSELF)


def _joined(said: Any, url: str) -> str:
    """The text of a message, "" if it has none; of a list, the parts that are text, without thoughts."""
    if said is None:
        return ""
    if isinstance(said, str):
        return said
    if isinstance(said, list) and all(isinstance(part, dict) for part in said):
        texts = [part.get("text") for part in said if part.get("type", "text") in ("text", "output_text")]
        if all(isinstance(text, str) for text in texts):
            return "".join(texts)
    raise DataError(f"{url}: expected a text as the answer, found {said!r:.300}")


def _tokens_said(body: Any) -> int:
    """Number of tokens in the answer as the server counted them; 0 if it does not say."""
    usage = body.get("usage")
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return count if isinstance(count, int) else 0


def _named(refusal: bytes) -> str:
    """The parameter that a refusal names, or its whole text if it names none."""
    text = refusal.decode("utf-8", "replace")
    try:
        param = json.loads(text)["error"]["param"]
    except (ValueError, LookupError, TypeError):
        return text
    return param if isinstance(param, str) and param else text
