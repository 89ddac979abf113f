"""The fixed text that a chat template puts around the texts of a conversation, found by rendering probe texts."""

from dataclasses import dataclass
from typing import Any

from vlm3.errors import ConfigError

MAX_IMAGES = 2
"""Most images of a conversation: a pair of views."""
# White space at both ends shows whether a template strips its texts.
_PROBES = tuple(f" \nprobe{number}\n " for number in range(5))
_SYSTEM, _QUESTION1, _ANSWER1, _QUESTION2, _ANSWER2 = _PROBES


@dataclass(frozen=True, slots=True)
class Marker:
    """The tokens between two texts of a conversation, e.g. end of turn, line feed, start of turn, role, line feed.

    Tokenizers split at special tokens first, so the texts before and after one never merge. Text outside the special
    tokens can merge with the text beside it and is tokenised together with it.
    """

    head: str
    """Text before the first special token, tokenised with the text before the marker."""
    ids: tuple[int, ...]
    """Tokens from the first special token to the last."""
    tail: str
    """Text after the last special token, tokenised with the text after the marker."""


@dataclass(frozen=True, slots=True)
class Layout:
    """All markers of a template; a conversation is opening, question, answer, question, answer, …, closing."""

    openings: tuple[tuple[Marker, ...], ...]
    """(marker,) before the first question, for 1 to `MAX_IMAGES` images, without a system text."""
    system_openings: tuple[tuple[Marker, ...], ...]
    """(marker, marker) before and after a system text, for 1 to `MAX_IMAGES` images."""
    to_answer: Marker
    to_question: Marker
    closing: Marker

    @property
    def end_of_turn_id(self) -> int:
        """The token that ends an answer."""
        return self.closing.ids[0]


def read_layout(tokenizer: Any, where: str) -> Layout:
    """The layout of a stock tokenizer's chat template.

    Args:
        tokenizer: Hugging Face fast tokenizer with a chat template.
        where: the model directory, for error messages.

    Raises:
        ConfigError: there is no template, or it does more than put fixed text between the turns.
    """
    if not tokenizer.chat_template:
        raise ConfigError(
            f"{where}: the tokenizer has no chat template; expected chat_template.jinja of a Qwen3-VL model"
        )

    def render(messages: list[dict[str, Any]], generate: bool = False) -> str:
        text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generate)
        return text

    def literals(text: str, probes: tuple[str, ...]) -> list[str]:
        found = []
        for probe in probes:
            before, separator, text = text.partition(probe)
            if not separator:
                raise ConfigError(
                    f"{where}: the chat template changes or drops what is said in earlier turns; use an Instruct model"
                )
            found.append(before)
        return [*found, text]

    def marker(text: str) -> Marker:
        return _marker(tokenizer, text, where)

    def opening(images: int, system: bool) -> tuple[Marker, ...]:
        said = [{"role": "system", "content": _SYSTEM}] if system else []
        text = render([*said, _user(_QUESTION1, images), _assistant(_ANSWER1)])
        parts = literals(text, (*([_SYSTEM] if system else []), _QUESTION1, _ANSWER1))
        if parts[-2:] != [between, closing]:
            raise ConfigError(f"{where}: the chat template depends on more than the turn; use an Instruct model")
        return tuple(marker(part) for part in parts[:-2])

    turns = [_user(_QUESTION1, 1), _assistant(_ANSWER1), _user(_QUESTION2, 0)]
    _, between, after, again, closing = literals(
        render([*turns, _assistant(_ANSWER2)]), (_QUESTION1, _ANSWER1, _QUESTION2, _ANSWER2)
    )
    prompt = literals(render(turns, generate=True), (_QUESTION1, _ANSWER1, _QUESTION2))
    counts = range(1, MAX_IMAGES + 1)
    layout = Layout(
        openings=tuple(opening(count, False) for count in counts),
        system_openings=tuple(opening(count, True) for count in counts),
        to_answer=marker(between),
        to_question=marker(after),
        closing=marker(closing),
    )
    ends = {(m.head, m.ids[0]) for m in (layout.to_question, layout.closing)}
    tails = {markers[-1].tail for markers in (*layout.openings, *layout.system_openings)}
    regular = again == between and prompt[1:] == [between, after, between]
    if not regular or ends != {("", layout.end_of_turn_id)} or len(tails) != 1:
        raise ConfigError(
            f"{where}: the chat template treats the last turn differently from the others; use an Instruct model"
        )
    return layout


def _user(text: str, images: int) -> dict[str, Any]:
    return {"role": "user", "content": [*[{"type": "image"}] * images, {"type": "text", "text": text}]}


def _assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _marker(tokenizer: Any, text: str, where: str) -> Marker:
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    special = set(tokenizer.all_special_ids) | {
        token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    at = [index for index, token_id in enumerate(encoded["input_ids"]) if token_id in special]
    if not at:
        raise ConfigError(
            f"{where}: the chat template has no special token in {text!r}; expected that of a Qwen3-VL model"
        )
    first, last, spans = at[0], at[-1], encoded["offset_mapping"]
    return Marker(text[: spans[first][0]], tuple(encoded["input_ids"][first : last + 1]), text[spans[last][1] :])
