"""What the engine took the place of, kept to compare: each question goes on from its own copy of the prefix's cache."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vlm3.asking.text_model import Ending, Reply
from vlm3.tokens.encode import ConversationEncoder
from vlm3.tokens.patches import patchify
from vlm3.tokens.vision import VisionSpec

MAX_CACHED_TOKENS = 1 << 16
"""Most tokens in the key-value cache: questions beyond it wait for the next batch.

A 4B Qwen3-VL keeps 147 kB per token in bf16, so this is at most 10 GB.
"""


def greedy(
    model: Any,
    encoder: ConversationEncoder,
    spec: VisionSpec,
    images: Sequence[NDArray[np.uint8]],
    questions: Sequence[str],
    *,
    max_new_tokens: int,
    system: str | None = None,
) -> list[Reply]:
    """The greedy answer to each question about one or two images, each asked on its own.

    The images and the text before the question go through the model once; the questions continue side by side from
    copies of that state. The answers equal those of the stock `generate(do_sample=False)` on each prompt, whatever the
    other questions are.

    Args:
        model: stock Qwen3-VL for conditional generation, on any device; its mode is restored.
        encoder: encoder of the same model.
        spec: image settings of the same model.
        images: one or two images (H, W, 3) RGB on the token grid.
        questions: any number of questions; none gives no answers.
        max_new_tokens: number of tokens at which an unfinished answer is cut.
        system: system prompt, if the model was trained with one.

    Returns:
        One reply per question, its text without special tokens.
    """
    if not questions:
        return []
    with torch.inference_mode(), _evaluating(model):
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        prefix = _Prefix(model, encoder.prefix_ids(sizes, system), spec, images)
        rows = [torch.from_numpy(encoder.question_ids(question)).long() for question in questions]
        batch = max(1, MAX_CACHED_TOKENS // (prefix.length + max(map(len, rows)) + max_new_tokens))
        stops = torch.tensor(sorted(_stop_ids(model, encoder)), device=model.device)
        answers: list[Reply] = []
        for start in range(0, len(rows), batch):
            tokens = prefix.continued(rows[start : start + batch], stops, encoder.pad_id, max_new_tokens)
            ended = torch.isin(tokens, stops).int().cumsum(1) > 0
            for row, end in zip(tokens.cpu(), ended.cpu(), strict=True):
                ending = Ending.ITSELF if end[-1] else Ending.CUT
                answers.append(Reply(encoder.decode(row[~end].tolist()), ending))
        return answers


class _Prefix:
    """The model's state after the images, from which questions continue."""

    def __init__(
        self, model: Any, prefix_ids: NDArray[np.int32], spec: VisionSpec, images: Sequence[NDArray[np.uint8]]
    ) -> None:
        device = model.device
        ids = torch.from_numpy(prefix_ids).long().to(device)[None]
        pixel_values, grid = patchify([torch.from_numpy(image.copy()).to(device) for image in images], spec)
        visual = (ids == spec.image_token_id).int()
        positions, _ = model.model.get_rope_index(ids, visual, image_grid_thw=grid)
        # Positions are always passed: otherwise the model would keep those of these images and use them in later calls.
        output = model.model(
            input_ids=ids,
            position_ids=positions,
            pixel_values=pixel_values,
            image_grid_thw=grid,
            mm_token_type_ids=visual,
            use_cache=True,
        )
        self._model = model
        self._cache = output.past_key_values
        self._next_position = int(positions.max()) + 1
        self.length = ids.shape[1]

    def continued(
        self, rows: Sequence[torch.Tensor], stops: torch.Tensor, pad_id: int, max_new_tokens: int
    ) -> torch.Tensor:
        """(rows, tokens) up to `max_new_tokens` greedy tokens after each row of ids; ignore those after a stop."""
        device = self._model.device
        lengths = torch.tensor([len(row) for row in rows])
        width = int(lengths.max())
        ids = torch.full((len(rows), width), pad_id)
        for index, row in enumerate(rows):
            ids[index, width - len(row) :] = row
        # Padding is put between prefix and question; the mask hides it, and it takes up no positions.
        step = torch.arange(width) - (width - lengths)[:, None]
        positions = (self._next_position + step.clamp(min=0)).to(device)
        mask = torch.cat([torch.ones(len(rows), self.length), (step >= 0).float()], 1).long().to(device)
        ids = ids.to(device)
        cache = copy.deepcopy(self._cache)
        cache.batch_repeat_interleave(len(rows))
        found: list[torch.Tensor] = []
        ended = torch.zeros(len(rows), dtype=torch.bool, device=device)
        while True:
            output = self._model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions.expand(3, -1, -1),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            token = output.logits[:, -1].argmax(-1)
            found.append(token)
            ended |= torch.isin(token, stops)
            if len(found) == max_new_tokens or bool(ended.all()):
                return torch.stack(found, 1)
            ids, positions = token[:, None], positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], 1)


def _stop_ids(model: Any, encoder: ConversationEncoder) -> set[int]:
    eos = model.generation_config.eos_token_id
    return {encoder.end_of_turn_id, *([] if eos is None else [eos] if isinstance(eos, int) else eos)}


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
