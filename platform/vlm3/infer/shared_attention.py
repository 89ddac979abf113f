"""Attention of many rows to keys that all of them share, and of each row to its own keys.

A softmax over two sets of keys is the mean of the softmax over each, weighted by e^lse, where lse is the log of the sum
of the exponentials of a set's scores (as in flash attention, Dao et al. 2022, section 3.1, and in cascade inference).
So the shared keys are held once, and the queries of all rows meet them in one matrix product.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

NAME = "vlm3_shared_prefix"
"""Of the attention, among those of transformers. It has no mask function there, so the library builds no mask."""
BLOCK_SCORES = 1 << 24
"""Most scores that are held at once where no kernel gives the log-sum-exp: 64 MB in fp32."""


@dataclass(frozen=True, slots=True, eq=False)
class SharedKeys:
    """The keys and values of tokens that come before every row, for each layer (1, key heads, P, head size)."""

    keys: tuple[torch.Tensor, ...]
    values: tuple[torch.Tensor, ...]

    @property
    def length(self) -> int:
        """P, the number of tokens."""
        return self.keys[0].shape[2]

    @property
    def nbytes(self) -> int:
        """Memory that they take."""
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values))

    def followed_by(self, keys: torch.Tensor, values: torch.Tensor) -> "SharedKeys":
        """These and more tokens after them, given as (layers, 1, key heads, C, head size)."""
        return SharedKeys(
            *(
                tuple(torch.cat([old, new], 2) for old, new in zip(ours, more, strict=True))
                for ours, more in ((self.keys, keys), (self.values, values))
            )
        )


@contextmanager
def shared_attention(model: Any) -> Iterator[None]:
    """Within this context the text model takes `shared` and `own_seen`, as arguments of its forward.

    Args:
        model: a stock Qwen3-VL. Afterwards it attends as before.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, attend_shared_and_own)
    config = model.config.text_config
    stock = config._attn_implementation
    # Not `set_attn_implementation`: it looks at every module of the model, and this happens for every chunk of rows.
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = stock


def attend_shared_and_own(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    scaling: float,
    shared: SharedKeys,
    own_seen: torch.Tensor,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention to all shared keys and to a row's own.

    Args:
        module: the attention layer.
        query: (N, heads, L, head size).
        key: (N, key heads, S, head size), each row's own.
        value: as `key`.
        attention_mask: there is none.
        scaling: of the scores.
        shared: of all layers.
        own_seen: bool (N or 1, L, S): which of its own keys a query sees, at least one.

    Returns:
        (N, L, heads, head size), and no weights.
    """
    rows, heads, length, size = query.shape
    key_heads = key.shape[1]
    # Heads that read the same keys, and rows, are folded into the queries of one matrix.
    grouped = query.reshape(rows, key_heads, heads // key_heads, length, size)
    folded = grouped.transpose(0, 1).reshape(1, key_heads, -1, size)
    layer = module.layer_idx
    to_shared, shared_lse = attend_to_all(folded, shared.keys[layer], shared.values[layer], scaling)
    to_shared = to_shared.view(key_heads, rows, -1, length, size).transpose(0, 1)
    shared_lse = shared_lse.reshape(key_heads, rows, -1, length, 1).transpose(0, 1).float()
    scores = torch.matmul(grouped.flatten(2, 3), key.transpose(-1, -2)).view(*grouped.shape[:-1], -1).float() * scaling
    scores = scores.masked_fill(~own_seen[:, None, None], -torch.inf)
    own_lse = scores.logsumexp(-1, keepdim=True)
    weights = (scores - own_lse).exp().to(value.dtype)
    to_own = torch.matmul(weights.flatten(2, 3), value).view(grouped.shape)
    # The share of the shared keys in the sum of both.
    share = torch.sigmoid(shared_lse - own_lse)
    mixed = torch.lerp(to_own.float(), to_shared.float(), share).to(query.dtype)
    return mixed.flatten(1, 2).transpose(1, 2), None


def attend_to_all(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention without a mask, and the log-sum-exp of each query's scores.

    Args:
        query: (1, heads, Q, head size).
        key: (1, heads, P, head size).
        value: as `key`.
        scaling: of the scores.

    Returns:
        (1, heads, Q, head size), and (1, heads, Q).
    """
    # Functions of torch's own attention, not part of its public interface: the public one does not return the lse.
    if query.device.type == "cpu":
        found = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, scale=scaling)
        return found[0], found[1]
    if query.device.type == "cuda":
        found = torch.ops.aten._scaled_dot_product_efficient_attention(query, key, value, None, True, scale=scaling)
        # Its lse is padded to a multiple of 32 queries.
        return found[0], found[1][..., : query.shape[2]]
    return attend_to_all_plainly(query, key, value, scaling)


def attend_to_all_plainly(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `attend_to_all`, with nothing but products of matrices, in blocks of queries."""
    block = max(1, BLOCK_SCORES // (key.shape[1] * key.shape[2]))
    outputs, sums = [], []
    for part in torch.split(query, block, dim=2):
        scores = torch.matmul(part, key.transpose(-1, -2)).float() * scaling
        lse = scores.logsumexp(-1, keepdim=True)
        outputs.append(torch.matmul((scores - lse).exp().to(value.dtype), value))
        sums.append(lse[..., 0])
    return torch.cat(outputs, 2), torch.cat(sums, 2)
