"""Initial weights for small text models: heads of the first layer look a few tokens back, as in trained models."""

from typing import Any

import torch

STRENGTH = 12.0
"""Strength of the part of queries and keys that looks back, relative to the random part."""
STEP_TOKENS = 3
"""Head h looks h · STEP_TOKENS tokens back, and at about as many tokens on either side of that."""
FREQUENCIES = 9
"""Number of rotary frequencies to use, from the highest down: those that distinguish near tokens from far ones."""


def look_back(text_model: Any, seed: int) -> None:
    """Change random weights in place so that an answer sees the coordinates of its question from the first step on.

    A conversation holds hundreds of tokens, but a question only four digits, to which random heads pay a hundredth of
    their attention: a small model then needs most of a short training to find them. All embeddings get a common part,
    which the first layer maps to a key that is the same for all tokens and to a query that is this key rotated by the
    head's offset; rotary positions (Su et al. 2021, RoFormer, section 3.2) turn their product into a bump at that
    offset.

    Args:
        text_model: text model with `embed_tokens`, `layers` and rotary positions of the half-split kind.
        seed: seed of the common part's direction.
    """
    config = text_model.config
    head_dim, half = config.head_dim, config.head_dim // 2
    frequencies = config.rope_parameters["rope_theta"] ** (-torch.arange(half) / half)
    used = (torch.arange(half) < FREQUENCIES).float()
    generator = torch.Generator().manual_seed(seed)
    common = torch.nn.functional.normalize(torch.randn(config.hidden_size, generator=generator), dim=0)
    attention = text_model.layers[0].self_attn
    gain = STRENGTH / config.hidden_size**0.5
    with torch.no_grad():
        text_model.embed_tokens.weight.add_(config.initializer_range * config.hidden_size**0.5 * common)
        for key in attention.k_proj.weight.split(head_dim):
            key.add_(gain * torch.outer(torch.cat([used, torch.zeros(half)]), common))
        for head, query in enumerate(attention.q_proj.weight.split(head_dim)):
            angle = frequencies * STEP_TOKENS * head
            turned = torch.cat([used * torch.cos(angle), -used * torch.sin(angle)])
            query.add_(gain * torch.outer(turned, common))
