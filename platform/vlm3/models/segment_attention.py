"""Attention within segments: rows that are joined into one see nothing of each other, and no mask is built."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

NAME = "vlm3_segments"
"""Of the attention, among those of transformers. It has no mask function there, so the library builds no mask."""


@contextmanager
def segment_attention(model: Any) -> Iterator[None]:
    """Within this context the text model attends within the segments that `cu_seq_lens_q` says, an argument of forward.

    The backward pass belongs inside: gradient checkpointing repeats the forward there. Afterwards, and so wherever
    questions are answered, the model is the stock one. Only "sdpa" is replaced: the library's "flash_attention_2"
    attends within the same segments by itself, and its "eager" finds them by the positions and masks the rest.

    Args:
        model: a stock Qwen3-VL.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    stock = model.config.text_config._attn_implementation
    if stock != "sdpa":
        yield
        return
    ALL_ATTENTION_FUNCTIONS.register(NAME, attend_within_segments)
    model.set_attn_implementation({"text_config": NAME})
    try:
        yield
    finally:
        model.set_attn_implementation({"text_config": stock})


def attend_within_segments(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    cu_seq_lens_q: torch.Tensor,
    **settings: Any,
) -> tuple[torch.Tensor, None]:
    """The library's "sdpa" on each segment by itself.

    Args:
        module: the attention layer.
        query: (1, heads, L, head size).
        key: (1, key heads, L, head size).
        value: as `key`.
        attention_mask: there is none.
        cu_seq_lens_q: int (segments + 1,): where each begins, and L.
        settings: for the library.

    Returns:
        (1, L, heads, head size), and no weights.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    lengths = cu_seq_lens_q.diff().tolist()
    if len(set(lengths)) == 1:
        # One call: the segments are a batch.
        shape = (-1, len(lengths), lengths[0], query.shape[-1])
        rows = (tensor.view(shape).transpose(0, 1) for tensor in (query, key, value))
        return sdpa_attention_forward(module, *rows, None, **settings)[0].flatten(0, 1)[None], None
    parts = zip(*(torch.split(tensor, lengths, dim=2) for tensor in (query, key, value)), strict=True)
    return torch.cat([sdpa_attention_forward(module, *part, None, **settings)[0] for part in parts], dim=1), None
