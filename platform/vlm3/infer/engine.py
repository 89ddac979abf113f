"""Greedy answers to any number of questions about the same images, which go through the model only once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vlm3.asking.number_form import NumberForm
from vlm3.asking.text_model import Reply
from vlm3.infer.answers import Answers
from vlm3.infer.number_tree import FormTokens
from vlm3.infer.own_keys import OwnKeys
from vlm3.infer.prefix import Prefix, PrefixCache, prefix_key, read_images
from vlm3.infer.shared_attention import shared_attention
from vlm3.tokens.encode import ConversationEncoder
from vlm3.tokens.vision import VisionSpec

CHUNK_ROWS = 256
"""Most questions that go through the model side by side."""
CHUNK_TOKENS = 1 << 14
"""Most tokens of their own that the questions of a chunk have: a 4B Qwen3-VL keeps 147 kB a token in bf16, 2.4 GB."""


TREE_ROWS = 8
"""Rows that a question has at most, as a rule, where its numbers are wanted."""


class Engine:
    """Asks one model.

    The images and the tokens that all questions begin with go through the model once. The questions go on from there in
    chunks: each row attends to the shared keys, of which there is one copy, and to its own. In fp32 the answers are
    those of the stock `generate(do_sample=False)` on each prompt, whatever the other questions are. In bf16 rounding
    decides between tokens that are about as likely, and does so in another way than there.
    """

    def __init__(
        self, model: Any, encoder: ConversationEncoder, vision: VisionSpec, cache: PrefixCache | None = None
    ) -> None:
        """Args:
        model: stock Qwen3-VL for conditional generation, on any device; its mode and attention are restored.
        encoder: encoder of the same model.
        vision: image settings of the same model.
        cache: for the images that were asked about last; only for a model whose weights do not change.
        """
        self._model, self._encoder, self._vision, self._cache = model, encoder, vision, cache

    def answer(
        self,
        images: Sequence[NDArray[np.uint8]],
        questions: Sequence[str],
        *,
        max_new_tokens: int,
        system: str | None = None,
        form: NumberForm | None = None,
    ) -> list[Reply]:
        """One reply for each question, as `chunks` gives them."""
        found = self.chunks(images, questions, max_new_tokens=max_new_tokens, system=system, form=form)
        return list(chain.from_iterable(found))

    def chunks(
        self,
        images: Sequence[NDArray[np.uint8]],
        questions: Sequence[str],
        *,
        max_new_tokens: int,
        system: str | None = None,
        form: NumberForm | None = None,
    ) -> Iterator[list[Reply]]:
        """The replies in order, a chunk at a time; between chunks the model is free for other requests.

        Args:
            images: one or two images (H, W, 3) RGB on the token grid.
            questions: any number of questions; none gives no answers.
            max_new_tokens: number of tokens at which an unfinished answer is cut.
            system: system prompt, if the model was trained with one.
            form: of the answers, to have the numbers that the model may have answered with each reply. The answers are
                the same; about twice as many rows go through the model.

        Yields:
            Replies, their text without special tokens. Without a spread if there is no form, or the model's tokenizer
            has no token for each digit.
        """
        if not questions:
            return
        rows = [torch.from_numpy(self._encoder.question_ids(question)).long() for question in questions]
        common = _common_length(rows)
        with torch.inference_mode(), _evaluating(self._model):
            prefix = self._prefix(images, system)
            if common:
                prefix = self._followed_by(prefix, rows[0][:common])
        rows = [row[common:] for row in rows]
        tokens = None if form is None else FormTokens.of(form, self._encoder)
        own_tokens = (max(map(len, rows)) + max_new_tokens) * (1 if tokens is None else TREE_ROWS)
        size = min(CHUNK_ROWS, max(1, CHUNK_TOKENS // own_tokens))
        for start in range(0, len(rows), size):
            # Never over a yield: the caller may ask the model otherwise, or train it.
            with torch.inference_mode(), _evaluating(self._model), shared_attention(self._model):
                replies = self._continued(prefix, rows[start : start + size], max_new_tokens, tokens)
            yield replies

    def _prefix(self, images: Sequence[NDArray[np.uint8]], system: str | None) -> Prefix:
        ids = self._encoder.prefix_ids([(image.shape[0], image.shape[1]) for image in images], system)
        if self._cache is None:
            return read_images(self._model, ids, self._vision, images)
        key = prefix_key(ids, images)
        found = self._cache.get(key)
        if found is None:
            found = read_images(self._model, ids, self._vision, images)
            self._cache.put(key, found)
        return found

    def _followed_by(self, prefix: Prefix, ids: torch.Tensor) -> Prefix:
        """The prefix and the tokens that all questions begin with."""
        with shared_attention(self._model):
            rows = _Rows(self._model, prefix, [ids], self._encoder.pad_id, capacity=len(ids))
        keys, values = rows.own.all_of_the_first(len(ids))
        return Prefix(prefix.shared.followed_by(keys, values), prefix.next_position + len(ids))

    def _continued(
        self, prefix: Prefix, ids: Sequence[torch.Tensor], max_new_tokens: int, form: FormTokens | None
    ) -> list[Reply]:
        rows = _Rows(self._model, prefix, ids, self._encoder.pad_id, max(map(len, ids)) + max_new_tokens)
        answers = Answers(len(ids), _stop_ids(self._model, self._encoder), form)
        for number in range(max_new_tokens):
            parents, tokens = answers.go_on(self._model.lm_head(rows.last))
            if not len(parents) or number + 1 == max_new_tokens:
                break
            answers.rows_are(rows.go_on(parents, tokens))
        return answers.replies(self._encoder)


class _Rows:
    """Rows of a chunk in the model, after the given tokens of each."""

    def __init__(self, model: Any, prefix: Prefix, ids: Sequence[torch.Tensor], pad_id: int, capacity: int) -> None:
        device = model.device
        padded = torch.nn.utils.rnn.pad_sequence(list(ids), batch_first=True, padding_value=pad_id).to(device)
        count, width = padded.shape
        step = torch.arange(width, device=device)
        self._model, self._prefix = model, prefix
        self.own = OwnKeys(prefix.shared, count, capacity)
        self.own.place(None, width)
        self._lengths = torch.tensor([len(row) for row in ids], device=device)
        hidden = self._forward(padded, step.expand(count, -1), (step <= step[:, None])[None])
        self.last = hidden[torch.arange(count, device=device), self._lengths - 1]
        """(rows, hidden size) after the last token of each."""

    def go_on(self, parents: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """One more token after each of these rows; the others end. Returns their order, as `OwnKeys.go_on_from`."""
        order = self.own.go_on_from(parents)
        places = self._lengths[parents[order]]
        end = int(places.max()) + 1
        self.own.place(places, end)
        seen = torch.arange(end, device=places.device) <= places[:, None]
        self.last = self._forward(tokens[order, None], places[:, None], seen[:, None])[:, 0]
        self._lengths = places + 1
        return order

    def _forward(self, ids: torch.Tensor, places: torch.Tensor, own_seen: torch.Tensor) -> torch.Tensor:
        """(rows, L, hidden size) of tokens (rows, L) at places (rows, L) after the prefix."""
        output = self._model.model.language_model(
            inputs_embeds=self._model.model.get_input_embeddings()(ids),
            position_ids=(self._prefix.next_position + places).expand(3, -1, -1),
            past_key_values=self.own,
            use_cache=True,
            shared=self._prefix.shared,
            own_seen=own_seen,
        )
        hidden: torch.Tensor = output.last_hidden_state
        return hidden


def _common_length(rows: Sequence[torch.Tensor]) -> int:
    """Tokens that all rows begin with, so that at least one is left of each; 0 for a single row.

    A single row gains nothing from it: its prefix is that of its images.
    """
    if len(rows) < 2:
        return 0
    most = min(map(len, rows)) - 1
    begun = torch.stack([row[:most] for row in rows])
    return int((begun == begun[0]).all(0).cumprod(0).sum())


def _stop_ids(model: Any, encoder: ConversationEncoder) -> set[int]:
    eos = model.generation_config.eos_token_id
    return {encoder.end_of_turn_id, *([] if eos is None else [eos] if isinstance(eos, int) else eos)}


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    training = model.training
    if training:
        model.eval()
    try:
        yield
    finally:
        if training:
            model.train()
