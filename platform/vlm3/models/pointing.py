"""Initial weights for small models: a question that names a pixel attends to the image there, as trained models do."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

X_HEAD, Y_HEAD = 3, 2
"""Heads of the first text layer that look back at the first digit of x and of y (`look_back`)."""
HARMONICS = 3
"""Number of sines and of cosines in the code of a coordinate; heads with few rotary frequencies hold fewer."""
LOOK_SHARPNESS, POINT_SHARPNESS = 3.0, 2.0
"""What the queries of the first and of the second text layer are multiplied with."""
POSITION_RMS = 0.7
"""Size of the vision tower's position embeddings: about that of the embedding of a patch."""
GAIN, RANDOM = 6.0, 0.3
"""Strength of the part of queries and keys that points, and what is left of their random part."""


def point(model: Any, digits: Sequence[int], seed: int) -> None:
    """Change random weights in place so that text after "79,32" attends to the image at 0.79 and 0.32 of its sides.

    To learn from examples which of a hundred visual tokens two pairs of digits name takes a small model most of a short
    training; a pretrained one knows it. Positions and first digits get the same smooth code, and their product is a
    bump in the attention:

    1. Position embeddings of the vision tower are codes of x and of y; the merger passes them on.
    2. Embeddings of digits get the code of their tenth of the image. The heads of the first text layer that look back
       at the first digits of x and y copy it.
    3. Heads of the second text layer compare both codes, in the rotary pairs that turn least with distance.

    The other random weights leave the directions of the codes alone. All weights are trained.

    Args:
        model: Qwen3-VL whose first text layer looks back (`look_back`). It stays as it is if it has fewer than four
            heads, or fewer than four rotary pairs in a head.
        digits: token ids of the digits 0 to 9.
        seed: seed of the directions that hold the codes.
    """
    text, visual = model.model.language_model, model.model.visual
    heads, half = text.config.num_attention_heads, text.config.head_dim // 2
    harmonics = min(HARMONICS, half // 4)
    if heads <= max(X_HEAD, Y_HEAD) or harmonics == 0:
        return
    size = 2 * harmonics
    generator = torch.Generator().manual_seed(seed)
    digit, asked_x, asked_y, seen_x, seen_y = _directions(text.config.hidden_size, 5, size, generator)
    at_x, at_y = _directions(visual.config.hidden_size, 2, size, generator)
    asked, seen, at = torch.cat([asked_x, asked_y]), torch.cat([seen_x, seen_y]), torch.cat([at_x, at_y])
    with torch.no_grad():
        _make_room(text, visual, torch.cat([digit, asked, seen]), at)
        _code_positions(visual, at_x, at_y, harmonics)
        _pass_on(visual.merger, at, seen * _norm(text))
        tenths = _code((torch.arange(10, dtype=torch.float64) + 0.5) / 10, harmonics)
        text.embed_tokens.weight[list(digits)] += _norm(text) * tenths @ digit
        _copy(text.layers[0].self_attn, {X_HEAD: asked_x, Y_HEAD: asked_y}, digit)
        _compare(text.layers[1].self_attn, asked, seen)


def _directions(hidden: int, codes: int, size: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Orthonormal directions (size, hidden) for each code, without a common part, which a layer norm would remove."""
    # In double precision, so that rounding, which differs among processors, does not reach the weights.
    random = torch.randn(hidden, codes * size, generator=generator, dtype=torch.float64)
    columns: Tensor = torch.linalg.qr(random - random.mean(dim=0))[0]
    return torch.split(columns.T, size)


def _code(coordinate: Tensor, harmonics: int) -> Tensor:
    """Unit vectors (..., 2 · harmonics) whose products fall off with the distance of two coordinates in [0, 1]."""
    angles = math.pi * coordinate[..., None] * torch.arange(1, harmonics + 1)
    code: Tensor = torch.stack([angles.cos(), angles.sin()], dim=-1).flatten(-2) / harmonics**0.5
    return code


def _norm(text: Any) -> float:
    """Norm of the random part of a token's embedding."""
    return float(text.config.initializer_range * text.config.hidden_size**0.5)


def _make_room(text: Any, visual: Any, codes: Tensor, at: Tensor) -> None:
    """Let random weights write nothing along the directions of codes, up to where the codes are compared."""
    _clear(text.embed_tokens.weight.T, codes)
    first = text.layers[0]
    mergers = [merger.linear_fc2 for merger in (visual.merger, *visual.deepstack_merger_list)]
    for layer in (first.self_attn.o_proj, first.mlp.down_proj, *mergers):
        _clear(layer.weight, codes)
    _clear(visual.patch_embed.proj.weight.flatten(1), at)
    for block in visual.blocks:
        _clear(block.attn.proj.weight, at)
        _clear(block.mlp.linear_fc2.weight, at)


def _clear(weight: Tensor, codes: Tensor) -> None:
    """Remove what (hidden, inputs) weights, a view that is changed in place, write along (codes, hidden)."""
    weight.copy_(weight.double() - codes.T @ (codes @ weight.double()))


def _code_positions(visual: Any, at_x: Tensor, at_y: Tensor, harmonics: int) -> None:
    """Give each cell of the grid of positions, which is stretched over every image, the codes of its x and y."""
    weight = visual.pos_embed.weight
    side = math.isqrt(len(weight))
    code = _code(torch.linspace(0, 1, side, dtype=torch.float64), harmonics)
    along_x, along_y = (code @ at_x)[None, :], (code @ at_y)[:, None]
    weight.copy_(POSITION_RMS * (weight.shape[1] / 2) ** 0.5 * (along_x + along_y).flatten(0, 1))


def _pass_on(merger: Any, taken: Tensor, given: Tensor) -> None:
    """Let the merger write the mean of its patches along `taken` along `given`: GELU(x) − GELU(−x) = x."""
    enter, leave = merger.linear_fc1, merger.linear_fc2
    patches = enter.in_features // taken.shape[1]
    mean = taken.repeat(1, patches) / patches
    units = 2 * len(taken)
    enter.weight[:units] = torch.cat([mean, -mean])
    leave.weight[:, :units] = torch.cat([given, -given]).T


def _copy(attention: Any, written: dict[int, Tensor], digit: Tensor) -> None:
    """Let heads copy the code of the digits they look at, each along directions of its own."""
    head_dim, size = attention.head_dim, len(digit)
    attention.q_norm.weight.mul_(LOOK_SHARPNESS)
    for head, directions in written.items():
        value = head // attention.num_key_value_groups * head_dim
        attention.v_proj.weight[value : value + size] = digit / size**0.5
        attention.o_proj.weight[:, head * head_dim : head * head_dim + size] = directions.T


def _compare(attention: Any, asked: Tensor, seen: Tensor) -> None:
    """Let the heads of the first key attend to where the codes agree.

    A sine and its cosine share a rotary pair, so that turning them is a small shift of the place. The pairs with the
    lowest frequencies hold the codes, the finest code in the fastest pair.
    """
    head_dim = attention.head_dim
    half, pairs = head_dim // 2, len(asked) // 2
    attention.q_norm.weight.mul_(POINT_SHARPNESS)
    slots = half - pairs + torch.arange(pairs).reshape(2, -1).flip(1).flatten()

    def add(rows: Tensor, directions: Tensor) -> None:
        rows *= RANDOM
        rows[slots] += GAIN * directions[0::2]
        rows[half + slots] += GAIN * directions[1::2]

    for head in range(attention.num_key_value_groups):
        add(attention.q_proj.weight[head * head_dim : (head + 1) * head_dim], asked)
    add(attention.k_proj.weight[:head_dim], seen)
