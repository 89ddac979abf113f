"""Turns conversations into the token ids of the stock chat template and tokenizer, some thirty times faster."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from tokenizers import Tokenizer

from vlm3.asking.protocol import Conversation
from vlm3.errors import ConfigError
from vlm3.storage.failures import StorageError
from vlm3.tokens.template import MAX_IMAGES, Layout, Marker, read_layout
from vlm3.tokens.vision import VisionSpec

ImageSize = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """The tokens of a conversation."""

    input_ids: NDArray[np.int32]
    """(L,)"""
    loss_mask: NDArray[np.bool_]
    """(L,) True on the tokens of each answer and on the end-of-turn token after it."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """Content of an encoder file."""

    tokenizer_json: str
    layout: Layout
    vision: VisionSpec
    pad_id: int


_STORED = TypeAdapter(_Stored)


class ConversationEncoder:
    """Encodes conversations for one model. Immutable: share it between threads, pickle it to other processes.

    Ids equal `tokenizer(tokenizer.apply_chat_template(...))` with each image's placeholder repeated once per visual
    token, as `Qwen3VLProcessor` does. One difference is intended: special-token strings (`<|im_end|>`) in questions,
    answers and system texts stay plain text, so that no text can end a turn or fake an image.
    """

    def __init__(self, tokenizer_json: str, layout: Layout, vision: VisionSpec, pad_id: int) -> None:
        """Make an encoder from its parts; callers use `from_directory` or `from_file`."""
        self._tokenizer_json = tokenizer_json
        self._layout = layout
        self._vision = vision
        self.pad_id = pad_id
        """Token that fills up short rows."""
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        self._tokenizer.encode_special_tokens = True

    @classmethod
    def from_directory(cls, model_dir: Path) -> Self:
        """Read the tokenizer, chat template and image settings of a Hugging Face model directory.

        Raises:
            ConfigError: a file is missing, or does not belong to a Qwen3-VL model.
        """
        from transformers import AutoTokenizer

        vision = VisionSpec.from_directory(model_dir)
        try:
            tokenizer = AutoTokenizer.from_pretrained(model_dir, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{model_dir}: its tokenizer cannot be loaded: {error}") from None
        if tokenizer.pad_token_id is None:
            raise ConfigError(f"{model_dir}: tokenizer_config.json names no pad_token")
        description = json.loads(tokenizer.backend_tokenizer.to_str())
        # Removed: post-processors trim offsets, and padding or truncation would be shared state.
        description |= {"post_processor": None, "padding": None, "truncation": None}
        return cls(json.dumps(description), read_layout(tokenizer, str(model_dir)), vision, tokenizer.pad_token_id)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a file that holds the result of `to_json`.

        Needs no transformers or torch, which would take seconds and 200 MB per process.

        Raises:
            ConfigError: there is no such file, or it does not hold an encoder.
            StorageError: the file system does not answer.
        """
        try:
            stored = _STORED.validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError) as error:
            raise ConfigError(f"{path}: not a saved encoder: {error}") from None
        except OSError as error:
            raise StorageError(f"{path}: cannot be read: {error}") from error
        return cls(stored.tokenizer_json, stored.layout, stored.vision, stored.pad_id)

    def to_json(self) -> bytes:
        """The whole encoder as JSON, which `from_file` reads."""
        return _STORED.dump_json(_Stored(self._tokenizer_json, self._layout, self._vision, self.pad_id))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the parts, because the tokenizer's own pickling loses settings."""
        return type(self), (self._tokenizer_json, self._layout, self._vision, self.pad_id)

    @property
    def end_of_turn_id(self) -> int:
        """Token that ends an answer."""
        return self._layout.end_of_turn_id

    def encode(self, conversation: Conversation, image_sizes: Sequence[ImageSize]) -> Encoded:
        """Tokens of a whole conversation, the images at the start of its first question.

        Args:
            conversation: one or more turns about one or two images.
            image_sizes: (height, width) of each image, on the token grid.

        Raises:
            ValueError: there are no turns, the number of images is not that of the conversation, or an image is off the
                grid.
        """
        if not conversation.turns or len(image_sizes) != conversation.images:
            raise ValueError(
                f"expected a conversation with turns and {conversation.images} image sizes, found"
                f" {len(conversation.turns)} turns and {len(image_sizes)} sizes"
            )
        parts = self._opening(image_sizes, conversation.system)
        for index, turn in enumerate(conversation.turns):
            last = index == len(conversation.turns) - 1
            parts.text(turn.question)
            parts.marker(self._layout.to_answer)
            parts.text(turn.answer, scored=True)
            parts.marker(self._layout.closing if last else self._layout.to_question)
        return parts.finish()

    def encode_question(
        self, question: str, image_sizes: Sequence[ImageSize], system: str | None = None
    ) -> NDArray[np.int32]:
        """The generation prompt of one question about one or two images: `prefix_ids` and `question_ids` joined."""
        return np.concatenate([self.prefix_ids(image_sizes, system), self.question_ids(question)])

    def prefix_ids(self, image_sizes: Sequence[ImageSize], system: str | None = None) -> NDArray[np.int32]:
        """Tokens up to and including the last special token before the question, shared by all questions on the images.

        Raises:
            ValueError: there is no image, there are more than two, or one is off the grid.
        """
        parts = self._opening(image_sizes, system)
        parts.pending = ""
        return parts.finish().input_ids

    def question_ids(self, question: str) -> NDArray[np.int32]:
        """Tokens that follow `prefix_ids`: the question, and the start of the answer's turn."""
        parts = _Parts(self._tokenizer, self._layout.openings[0][-1].tail)
        parts.text(question)
        parts.marker(self._layout.to_answer)
        return parts.finish().input_ids

    def text_ids(self, text: str) -> list[int]:
        """Tokens of a plain text, as of an answer."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of tokens, without special tokens."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def _opening(self, image_sizes: Sequence[ImageSize], system: str | None) -> "_Parts":
        if not 1 <= len(image_sizes) <= MAX_IMAGES:
            raise ValueError(f"expected 1 to {MAX_IMAGES} images, found {len(image_sizes)}")
        layout = self._layout
        markers = (layout.openings if system is None else layout.system_openings)[len(image_sizes) - 1]
        parts = _Parts(self._tokenizer, "")
        if system is not None:
            parts.marker(markers[0])
            parts.text(system)
        parts.marker(self._with_images(markers[-1], image_sizes))
        return parts

    def _with_images(self, marker: Marker, image_sizes: Sequence[ImageSize]) -> Marker:
        """The marker with each image's placeholder repeated once per visual token."""
        counts = iter([self._vision.tokens(height, width) for height, width in image_sizes])
        image = self._vision.image_token_id
        ids = [token for i in marker.ids for token in ([i] * next(counts) if i == image else [i])]
        return Marker(marker.head, tuple(ids), marker.tail)


class _Parts:
    """Builds the tokens of a conversation from texts and markers in turn."""

    def __init__(self, tokenizer: Tokenizer, pending: str) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._scored: list[bool] = []
        self.pending = pending
        """Text that is not tokenised yet, because what follows may merge with it."""
        self._answer: tuple[int, int] | None = None
        """(start, stop) of an answer in `pending`, None if it holds none."""

    def text(self, text: str, scored: bool = False) -> None:
        """Add a text of the conversation; `scored` if the loss counts it."""
        if scored:
            self._answer = (len(self.pending), len(self.pending) + len(text))
        self.pending += text

    def marker(self, marker: Marker) -> None:
        """Add a marker after the texts so far."""
        self.pending += marker.head
        after_answer = self._answer is not None
        self._flush()
        self._ids += marker.ids
        self._scored += [after_answer] + [False] * (len(marker.ids) - 1)
        self.pending = marker.tail

    def finish(self) -> Encoded:
        """All tokens, including those of the text after the last marker."""
        self._flush()
        return Encoded(np.array(self._ids, np.int32), np.array(self._scored, np.bool_))

    def _flush(self) -> None:
        if self.pending:
            encoding = self._tokenizer.encode(self.pending, add_special_tokens=False)
            self._ids += encoding.ids
            start, stop = self._answer or (0, 0)
            self._scored += [begin < stop and end > start for begin, end in encoding.offsets]
        self.pending, self._answer = "", None
