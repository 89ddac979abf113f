"""What a model has made of the images of a request: the state from which its questions go on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from cachetools import LRUCache
from numpy.typing import NDArray

from vlm3.infer.shared_attention import SharedKeys
from vlm3.tokens.patches import patchify
from vlm3.tokens.vision import VisionSpec


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """The state after the images and the text before a question."""

    shared: SharedKeys
    next_position: int
    """Of the next token, on all three axes of M-RoPE."""


def read_images(
    model: Any, prefix_ids: NDArray[np.int32], vision: VisionSpec, images: Sequence[NDArray[np.uint8]]
) -> Prefix:
    """Run the images and the text around them through the model.

    Args:
        model: stock Qwen3-VL for conditional generation.
        prefix_ids: (P,) tokens of the conversation up to the question.
        vision: image settings of the model.
        images: one or two images (H, W, 3) RGB on the token grid.
    """
    device = model.device
    ids = torch.from_numpy(prefix_ids).long().to(device)[None]
    pixel_values, grid = patchify([torch.from_numpy(image.copy()).to(device) for image in images], vision)
    visual = (ids == vision.image_token_id).int()
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
    layers = output.past_key_values.layers
    shared = SharedKeys(tuple(layer.keys for layer in layers), tuple(layer.values for layer in layers))
    return Prefix(shared, int(positions.max()) + 1)


class PrefixCache:
    """The prefixes that were used last, bounded by their bytes; of one model, whose weights do not change."""

    def __init__(self, max_bytes: int) -> None:
        self._kept: LRUCache[bytes, Prefix] = LRUCache(max_bytes, getsizeof=lambda prefix: prefix.shared.nbytes)
        self.hits = 0
        """Times that a prefix was found."""

    def get(self, key: bytes) -> Prefix | None:
        """The prefix of this key, if it is there still."""
        found: Prefix | None = self._kept.get(key)
        self.hits += found is not None
        return found

    def put(self, key: bytes, prefix: Prefix) -> None:
        """Keep a prefix, unless it is larger than all room."""
        if prefix.shared.nbytes <= self._kept.maxsize:
            self._kept[key] = prefix


def prefix_key(prefix_ids: NDArray[np.int32], images: Sequence[NDArray[np.uint8]]) -> bytes:
    """Two requests have the same key only if the model sees the same: tokens, sizes and pixels."""
    seen = hashlib.blake2b(digest_size=32)
    arrays: list[NDArray[Any]] = [prefix_ids, *images]
    for array in arrays:
        seen.update(repr((array.shape, array.dtype.str)).encode())
        seen.update(np.ascontiguousarray(array).data)
    return seen.digest()
